"""The options that several commands have: spelled and shown alike wherever they stand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])


class Seconds(click.ParamType[float]):
    """The type of an option for a time: 0 or more, and no NaN, which no clock ever reaches."""

    name = "seconds"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number; a usage error when it is none."""
        try:
            seconds = float(str(value))
        except ValueError:
            seconds = -1.0
        if not seconds >= 0:
            self.fail(f"{value!r} is no number of seconds, 0 or more", param, ctx)
        return seconds


def destination(meaning: str) -> Callable[[_Command], _Command]:
    """--destination, given to the command as ``destination``: a name, or None."""
    return click.option("--destination", metavar="D", help=meaning)


def as_json(meaning: str) -> Callable[[_Command], _Command]:
    """--json, given to the command as ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help=meaning)
