"""The options that several commands share, spelled and explained alike, and their types."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import click

_Command = Callable[..., Any]
_Option = Callable[[_Command], _Command]

DAY = "YYYYMMDD"
ANY_PORT = click.IntRange(0, 65535)  # 0 stands for a free one


def _seconds(text: str) -> float:
    """Return a time: 0 or more, and not NaN, which no clock ever reaches."""
    with suppress(ValueError):
        if (seconds := float(text)) >= 0:
            return seconds
    raise click.BadParameter(f"{text!r} is not a number of seconds, 0 or more")


def record_id(text: str) -> str:
    """Return a record's id, given with or without dashes, as 32 hex digits."""
    from worker.buffer.records import canonical_id

    try:
        return canonical_id(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a record id") from None


def destination(help_text: str) -> _Option:
    """Add --destination, given to the command as ``destination``: a name, or None."""
    return click.option("--destination", metavar="D", help=help_text)


def as_json(help_text: str) -> _Option:
    """Add --json, given to the command as ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help=help_text)


def needless_json(output: str) -> _Option:
    """Add --json, without effect: programs may give it to every command alike."""
    text = f"Has no effect: the output is {output} anyway."
    return click.option("--json", is_flag=True, expose_value=False, help=text)


def timeout(help_text: str) -> _Option:
    """Add --timeout, given to the command as ``timeout_s``: seconds, or None."""
    return click.option("--timeout", "timeout_s", type=_seconds, metavar="S", help=help_text)


host = click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")


def vendor_query(command: _Command) -> _Command:
    """Add the options of every question to a vendor: --from, --to and --destination."""
    until = "Last day, inclusive; both in the account's time zone."
    for decorate in (
        destination("The account to ask.  [default: the default destination]"),
        click.option("--to", "last", required=True, metavar=DAY, help=until),
        click.option("--from", "first", required=True, metavar=DAY, help="First day, inclusive."),
    ):
        command = decorate(command)
    return command


def letter_filter(command: _Command) -> _Command:
    """Add --destination, --kind, --code and --id, given as ``destination`` and ``where``."""

    @functools.wraps(command)
    def call(kind: str | None, code: str | None, record_id: str | None, **others: Any) -> Any:
        from worker.dead_letters.letters import LetterFilter

        return command(where=LetterFilter(kind, code, record_id), **others)

    decorated: _Command = call
    kinds = click.Choice(("event", "profile", "token"))
    for decorate in (
        click.option("--id", "record_id", type=record_id, metavar="ID", help="Only this record."),
        click.option("--code", metavar="C", help="Only this vendor code, or reason: 513, expired."),
        click.option("--kind", type=kinds, help="Only this kind."),
        destination("Only this destination."),
    ):
        decorated = decorate(decorated)
    return decorated
