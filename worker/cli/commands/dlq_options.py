"""The options that select dead letters, and the selection they make."""

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


def letter_filter(command: _Command) -> _Command:
    """Add --destination, --kind, --code and --id, given as ``destination`` and ``where``."""

    @functools.wraps(command)
    def call(kind: str | None, code: str | None, record_id: str | None, **others: Any) -> Any:
        from worker.dead_letters.letters import LetterFilter

        return command(where=LetterFilter(kind, code, record_id), **others)

    decorated: Any = call
    for decorate in (
        click.option("--id", "record_id", type=RecordId(), help="Only this record."),
        click.option("--code", metavar="C", help="Only this vendor code, or reason: 513, expired."),
        click.option("--kind", type=click.Choice(_KINDS), help="Only this kind."),
        options.destination("Only this destination."),
    ):
        decorated = decorate(decorated)
    return decorated  # type: ignore[no-any-return] # click returns what it is given


class RecordId(click.ParamType[str]):
    """The type of a record's id, with or without dashes; given as 32 hex digits."""

    name = "ID"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Return the id, or fail with a usage error."""
        from worker.buffer.records import canonical_id

        try:
            return canonical_id(str(value))
        except ValueError:
            self.fail(f"{value!r} is not a record id", param, ctx)


def select_letters(destination: str | None, where: LetterFilter) -> list[Selection]:
    """Return the matching dead letters of each destination, or one; UnknownDestination."""
    from worker.dead_letters.letters import DeadLetters

    from ..clients import overview

    buffers = overview(destination).buffers.values()
    return [DeadLetters(each.client, each.destination).select(where) for each in buffers]
