"""The options that several commands share, spelled and explained alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])

DAY = "YYYYMMDD"
LOOPBACK = "127.0.0.1"
ANY_PORT = click.IntRange(0, 65535)  # 0 stands for a free one


class Seconds(click.ParamType[float]):
    """The type of an option for a time: 0 or more, and not NaN, which no clock ever reaches."""

    name = "seconds"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number, or fail with a usage error."""
        try:
            seconds = float(str(value))
        except ValueError:
            seconds = -1.0
        if not seconds >= 0:
            self.fail(f"{value!r} is not a number of seconds, 0 or more", param, ctx)
        return seconds


def destination(help_text: str) -> Callable[[_Command], _Command]:
    """Add --destination, given to the command as ``destination``: a name, or None."""
    return click.option("--destination", metavar="D", help=help_text)


def as_json(help_text: str) -> Callable[[_Command], _Command]:
    """Add --json, given to the command as ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help=help_text)


def host() -> Callable[[_Command], _Command]:
    """Add --host: where a server listens."""
    return click.option("--host", default=LOOPBACK, show_default=True, help="Where to listen.")


def vendor_query(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of every question to a vendor: --from, --to and --destination."""
    decorators = (
        click.option("--from", "first", required=True, metavar=DAY, help="First day, inclusive."),
        click.option(
            "--to",
            "last",
            required=True,
            metavar=DAY,
            help="Last day, inclusive; both in the account's time zone.",
        ),
        destination("The account to ask.  [default: the default destination]"),
    )
    for decorate in reversed(decorators):
        command = decorate(command)
    return command
