"""`ingest dlq`: look at dead letters, replay them, purge them, export them."""

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
from .dlq_options import chosen, which
from .dlq_replay_purge import purge, replay

if TYPE_CHECKING:
    from worker.dead_letters.letters import LetterFilter, Selection

_SHOWN = 50  # lines of a table that a person reads; --limit asks for more


@click.group
def dlq() -> None:
    """Look at dead letters, replay them, purge them, export them."""


dlq.add_command(replay)
dlq.add_command(purge)


@dlq.command("list", short_help="List dead letters, the oldest first.")
@which
@options.as_json("JSON Lines, records included.")
@click.option("--limit", type=click.IntRange(min=1), help="Show at most so many.")
def list_(destination: str | None, where: LetterFilter, as_json: bool, limit: int | None) -> None:
    """List dead letters, the oldest first; the table leaves the records out."""
    from worker.dead_letters.letters import chain_letters

    selections = chosen(destination, where)
    if as_json:
        with output() as stream:
            for letter in chain_letters(selections, limit):
                stream.write(_line(letter.to_json()))
        return
    from ..console.terminal import standard_output
    from .dlq_tables import letters_table

    limit = limit or _SHOWN
    letters = list(chain_letters(selections, limit + 1))
    if not letters:
        click.echo("No dead letters.")
        return
    standard_output().print(letters_table(letters[:limit]))
    if len(letters) > limit:
        click.echo(f"Shown are the first {limit}; --limit shows more, `summary` counts all.")


@dlq.command(short_help="Count dead letters by what killed them.")
@which
@options.as_json("JSON Lines, a group a line.")
def summary(destination: str | None, where: LetterFilter, as_json: bool) -> None:
    """Count dead letters by destination, kind, code, text and event name."""
    from worker.dead_letters.groups import group_letters
    from worker.dead_letters.letters import chain_letters

    groups = group_letters(chain_letters(chosen(destination, where)))
    if as_json:
        with output() as stream:
            stream.writelines(_line(group.to_json()) for group in groups)
        return
    if not groups:
        click.echo("No dead letters.")
        return
    from ..console.terminal import standard_output
    from .dlq_tables import groups_table

    standard_output().print(groups_table(groups))


@dlq.command(short_help="Show dead letters whole, records included.")
@which
@click.argument("wanted", required=False, metavar="[ID]")
@options.as_json("JSON Lines instead of indented JSON.")
def show(destination: str | None, where: LetterFilter, wanted: str | None, as_json: bool) -> None:
    """Show dead letters whole, records included: the one with ID, or all that are meant."""
    from dataclasses import replace

    import orjson

    from worker.dead_letters.letters import chain_letters

    from .dlq_options import parsed_id

    if wanted is not None:
        where = replace(where, id=parsed_id(wanted))
    found = False
    option = orjson.OPT_APPEND_NEWLINE | (0 if as_json else orjson.OPT_INDENT_2)
    with output() as stream:
        for letter in chain_letters(chosen(destination, where)):
            found = True
            stream.write(orjson.dumps(letter.to_json(), option=option))
    if not found and where.id is not None:
        raise Failure("no dead letter has this id; `ingest trace` tells where the record is")


@dlq.command(short_help="Write dead letters as JSON Lines.")
@which
@options.as_json("Changes nothing: it is JSON Lines anyway.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where to; standard output without it.",
)
def export(destination: str | None, where: LetterFilter, as_json: bool, out: Path | None) -> None:
    """Write dead letters as JSON Lines, to be mended and given to `dlq replay --from`."""
    del as_json
    from ..console.terminal import counted

    selections = chosen(destination, where)
    if out is None:
        with output() as stream:
            _write(selections, stream, lambda _: None)
        return
    sizes = [each.size for each in selections if each.size is not None]
    total = sum(sizes) if len(sizes) == len(selections) else None
    with _whole(out) as file, counted("exporting", total) as advance:
        written = _write(selections, file, advance)
    click.echo(f"{written} dead letters written to {out}", err=True)


def _write(selections: list[Selection], file: IO[bytes], advance: Callable[[int], object]) -> int:
    from worker.dead_letters.letters import chain_letters

    written = 0
    for letter in chain_letters(selections):
        file.write(_line(letter.to_json()))
        advance(1)
        written += 1
    return written


@contextmanager
def _whole(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears under its name when it is complete; for its owner alone to read."""
    partial = path.with_name(path.name + ".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        yield file
    partial.replace(path)


def _line(told: Any) -> bytes:
    import orjson

    return orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE)
