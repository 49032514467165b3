"""The options that several commands have: spelled and shown alike wherever they stand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])


def destination(meaning: str) -> Callable[[_Command], _Command]:
    """--destination, given to the command as ``destination``: a name, or None."""
    return click.option("--destination", metavar="D", help=meaning)


def as_json(meaning: str) -> Callable[[_Command], _Command]:
    """--json, given to the command as ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help=meaning)
