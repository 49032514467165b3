"""`ingest dlq`: list, count, show and export dead letters, replay them, purge them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from .. import options
from ..console.stdout import output
from ..exit_codes import Failure
from .dlq_options import RecordId, letter_filter, select_letters
from .dlq_replay_purge import purge, replay

if TYPE_CHECKING:
    from worker.dead_letters.letters import LetterFilter, Selection

_DEFAULT_LIMIT = 50  # lines of a table that a person reads; --limit shows more


@click.group
def dlq() -> None:
    """List, replay, purge and export dead letters: records that could not be delivered."""


dlq.add_command(replay)
dlq.add_command(purge)


@dlq.command("list", short_help="List dead letters, the oldest first.")
@letter_filter
@options.as_json("Print JSON Lines, with the records.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Show at most N.")
def list_(destination: str | None, where: LetterFilter, as_json: bool, limit: int | None) -> None:
    """List dead letters, the oldest first. The table leaves out the records themselves."""
    from worker.dead_letters.letters import chain_letters

    selections = select_letters(destination, where)
    if as_json:
        with output() as stream:
            for letter in chain_letters(selections, limit):
                stream.write(_json_line(letter.to_json()))
        return
    from ..console.terminal import terminal
    from .dlq_tables import letters_table

    limit = limit or _DEFAULT_LIMIT
    letters = list(chain_letters(selections, limit + 1))
    if not letters:
        click.echo("No dead letters.")
        return
    terminal().print(letters_table(letters[:limit]))
    if len(letters) > limit:
        click.echo(f"Showing the first {limit}; --limit shows more, `summary` counts all.")


@dlq.command(short_help="Count dead letters by reason.")
@letter_filter
@options.as_json("Print JSON Lines, one group a line.")
def summary(destination: str | None, where: LetterFilter, as_json: bool) -> None:
    """Count dead letters by destination, kind, code, text and event name."""
    from worker.dead_letters.groups import group_letters
    from worker.dead_letters.letters import chain_letters

    groups = group_letters(chain_letters(select_letters(destination, where)))
    if as_json:
        with output() as stream:
            stream.writelines(_json_line(group.to_json()) for group in groups)
        return
    if not groups:
        click.echo("No dead letters.")
        return
    from ..console.terminal import terminal
    from .dlq_tables import groups_table

    terminal().print(groups_table(groups))


@dlq.command(short_help="Show dead letters with their records.")
@letter_filter
@click.argument("wanted", required=False, metavar="[ID]", type=RecordId())
@options.as_json("Print JSON Lines instead of indented JSON.")
def show(destination: str | None, where: LetterFilter, wanted: str | None, as_json: bool) -> None:
    """Show the dead letter with this ID, or all that match the options, with their records."""
    from dataclasses import replace

    import orjson

    from worker.dead_letters.letters import chain_letters

    if wanted is not None:
        where = replace(where, id=wanted)
    found = False
    option = orjson.OPT_APPEND_NEWLINE | (0 if as_json else orjson.OPT_INDENT_2)
    with output() as stream:
        for letter in chain_letters(select_letters(destination, where)):
            found = True
            stream.write(orjson.dumps(letter.to_json(), option=option))
    if not found and where.id is not None:
        raise Failure("no dead letter has this id; `ingest trace` shows where the record is")


@dlq.command(short_help="Write dead letters as JSON Lines.")
@letter_filter
@options.as_json("Has no effect: the output is JSON Lines anyway.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write to FILE.  [default: standard output]",
)
def export(destination: str | None, where: LetterFilter, as_json: bool, out: Path | None) -> None:
    """Write dead letters as JSON Lines, to be edited and given to `dlq replay --from`."""
    del as_json
    from ..console.terminal import progress

    selections = select_letters(destination, where)
    if out is None:
        with output() as stream:
            _write(selections, stream, lambda _: None)
        return
    sizes = [each.size for each in selections if each.size is not None]
    total = sum(sizes) if len(sizes) == len(selections) else None
    with _private_file(out) as file, progress("exporting", total) as advance:
        written = _write(selections, file, advance)
    click.echo(f"{written} dead letters written to {out}", err=True)


def _write(selections: list[Selection], file: IO[bytes], advance: Callable[[int], object]) -> int:
    from worker.dead_letters.letters import chain_letters

    written = 0
    for letter in chain_letters(selections):
        file.write(_json_line(letter.to_json()))
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


def _json_line(value: Any) -> bytes:
    import orjson

    return orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)
