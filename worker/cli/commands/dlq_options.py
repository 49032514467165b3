"""Which dead letters a command means: the options that `dlq` shares, and what they select."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .. import options

if TYPE_CHECKING:
    from worker.dead_letters.letters import LetterFilter, Selection

_Command = TypeVar("_Command", bound=Callable[..., Any])
_KINDS = ("event", "profile", "token")


def which(command: _Command) -> _Command:
    """Give a command --destination, --kind, --code and --id, as ``destination`` and ``where``."""

    @functools.wraps(command)
    def call(kind: str | None, code: str | None, record_id: str | None, **others: Any) -> Any:
        from worker.dead_letters.letters import LetterFilter

        id_ = None if record_id is None else parsed_id(record_id, "--id")
        return command(where=LetterFilter(kind, code, id_), **others)

    narrowing = (
        options.destination("Of this destination alone."),
        click.option("--kind", type=click.Choice(_KINDS), help="Of this kind alone."),
        click.option(
            "--code", metavar="C", help="With this code of the vendor's, or reason, as in expired."
        ),
        click.option("--id", "record_id", metavar="ID", help="The one of this record alone."),
    )
    decorated: Any = call
    for option in reversed(narrowing):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return] # click gives back what it is given


def parsed_id(text: str, whose: str = "ID") -> str:
    """A record's id, dashed or not, as 32 hex digits; when it is none, ``whose`` it is is told."""
    from worker.buffer.records import canonical_id

    try:
        return canonical_id(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no record's id", param_hint=whose) from None


def chosen(destination: str | None, where: LetterFilter) -> list[Selection]:
    """What is meant, of each destination or one, as it is now; UnknownDestination."""
    from worker.dead_letters.letters import DeadLetters

    from ..clients import overview

    buffers = overview(destination).buffers.values()
    return [DeadLetters(each.client, each.destination).select(where) for each in buffers]
