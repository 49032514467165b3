"""`ingest dlq`: list, count, show and export dead letters, replay them, purge them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import IO, TYPE_CHECKING
from uuid import UUID

import click
import orjson
from rich.table import Column, Table
from rich.text import Text

from .. import options
from ..clients import select_letters
from ..console.terminal import output, plain_table, printable, progress, terminal
from ..exit_codes import Failure
from .dlq_replay_purge import purge, replay

if TYPE_CHECKING:
    from worker.dead_letters.groups import LetterGroup
    from worker.dead_letters.letters import DeadLetter, LetterFilter

_DEFAULT_LIMIT = 50  # lines of a table that a person reads; --limit shows more


@click.group
def dlq() -> None:
    """List, replay, purge and export dead letters: records that could not be delivered."""


dlq.add_command(replay)
dlq.add_command(purge)


@dlq.command("list", short_help="List dead letters, the oldest first.")
@options.letter_filter
@options.as_json("Print JSON Lines, with the records.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Show at most N.")
def list_(destination: str | None, where: LetterFilter, as_json: bool, limit: int | None) -> None:
    """List dead letters, the oldest first. The table leaves out the records themselves."""
    if as_json:
        found = _letters(destination, where, limit)
        with output() as stream:
            _write(found, stream)
        return
    limit = limit or _DEFAULT_LIMIT
    letters = list(_letters(destination, where, limit + 1))
    if not letters:
        click.echo("No dead letters.")
        return
    terminal().print(_letters_table(letters[:limit]))
    if len(letters) > limit:
        click.echo(f"Showing the first {limit}; --limit shows more, `summary` counts all.")


@dlq.command(short_help="Count dead letters by reason.")
@options.letter_filter
@options.as_json("Print JSON Lines, one group a line.")
def summary(destination: str | None, where: LetterFilter, as_json: bool) -> None:
    """Count dead letters by destination, kind, code, text and event name."""
    from worker.dead_letters.groups import group_letters

    groups = group_letters(_letters(destination, where))
    if as_json:
        with output() as stream:
            _write(groups, stream)
    elif groups:
        terminal().print(_groups_table(groups))
    else:
        click.echo("No dead letters.")


@dlq.command(short_help="Show dead letters with their records.")
@options.letter_filter
@click.argument("wanted", required=False, metavar="[ID]", type=options.record_id)
@options.as_json("Print JSON Lines instead of indented JSON.")
def show(destination: str | None, where: LetterFilter, wanted: str | None, as_json: bool) -> None:
    """Show the dead letter with this ID, or all that match the options, with their records."""
    where = replace(where, id=wanted or where.id)
    found = _letters(destination, where)
    with output() as stream:
        written = _write(found, stream, 0 if as_json else orjson.OPT_INDENT_2)
    if not written and where.id is not None:
        raise Failure("no dead letter has this id; `ingest trace` shows where the record is")


@dlq.command(short_help="Write dead letters as JSON Lines.")
@options.letter_filter
@options.needless_json("JSON Lines")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write to FILE.  [default: standard output]",
)
def export(destination: str | None, where: LetterFilter, out: Path | None) -> None:
    """Write dead letters as JSON Lines, to be edited and given to `dlq replay --from`."""
    selections = select_letters(destination, where)
    letters = (letter for selection in selections for letter in selection)
    if out is None:
        with output() as stream:
            _write(letters, stream)
        return
    sizes = [each.size for each in selections if each.size is not None]
    total = sum(sizes) if len(sizes) == len(selections) else None
    with _private_file(out) as file, progress("exporting", total) as advance:
        written = _write(letters, file, advance=advance)
    click.echo(f"{written} dead letters written to {out}", err=True)


def _letters(
    destination: str | None, where: LetterFilter, limit: int | None = None
) -> Iterator[DeadLetter]:
    return islice(chain.from_iterable(select_letters(destination, where)), limit)


def _write(
    found: Iterable[DeadLetter | LetterGroup],
    stream: IO[bytes],
    option: int = 0,
    advance: Callable[[int], object] = lambda _: None,
) -> int:
    """Write each as JSON; return how many there were."""
    written = 0
    for each in found:
        stream.write(orjson.dumps(each.to_json(), option=option | orjson.OPT_APPEND_NEWLINE))
        advance(1)
        written += 1
    return written


@contextmanager
def _private_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that only its owner may read, and that gets its name when it is complete."""
    partial = path.with_name(path.name + ".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        yield file
    partial.replace(path)


def _letters_table(letters: Iterable[DeadLetter]) -> Table:
    """Return a table with a line for each; ids are never cut: other commands take them."""
    from worker.dead_letters.letters import iso

    table = plain_table(
        Column("Id", no_wrap=True, min_width=36),
        *("Destination", "Kind", "Event", "Code"),
        Column("Error", overflow="fold"),
        Column("Attempts", justify="right"),
        Column("Failed at", no_wrap=True),
    )
    for letter in letters:
        table.add_row(
            str(UUID(letter.id)),
            letter.destination,
            letter.kind,
            printable(letter.name),
            _code(letter.code, letter.reason),
            printable(letter.error),
            str(letter.attempts),
            iso(letter.failed_at_ms),
        )
    return table


def _groups_table(groups: Sequence[LetterGroup]) -> Table:
    """Return a table with a line for each group, the largest first."""
    from worker.dead_letters.letters import iso

    table = plain_table(
        Column("Count", justify="right", style="red", no_wrap=True),
        *("Destination", "Kind", "Code", "Event"),
        Column("Error", overflow="fold"),
        Column("First", no_wrap=True),
        Column("Last", no_wrap=True),
    )
    for group in groups:
        table.add_row(
            f"{group.count:,}",
            group.destination,
            group.kind,
            _code(group.code, group.reason),
            printable(group.event),
            printable(group.text),
            iso(group.first_ms),
            iso(group.last_ms),
        )
    return table


def _code(code: int | None, reason: str) -> Text:
    """Return the vendor's code, or our reason if it gave none: what --code takes."""
    return Text(reason if code is None else str(code), style="yellow")
