"""`ingest dlq replay` and `ingest dlq purge`: what moves dead letters, and asks before it does."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, BinaryIO

import click

from .. import options
from ..console.confirmation import (
    confirm,
    confirm_letters,
    has_person,
    must_be_able_to_ask,
    so_many_letters,
    yes_option,
)
from ..exit_codes import REJECTED, Misuse
from .dlq_options import chosen, which

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from worker.dead_letters.letters import LetterFilter, Selection
    from worker.dead_letters.replay import NotReplayed
    from worker.dead_letters.replay_check import ReplayCheck

# Everything these commands print is JSON already; programs may say so on every command alike.
_JSON = options.as_json("Changes nothing: it is JSON anyway.")


@click.command(short_help="Put dead letters back into the buffer.")
@which
@yes_option
@_JSON
@click.option(
    "--check", is_flag=True, help="Ask the vendor first (dry run), and replay what would pass."
)
@click.option(
    "--from",
    "file",
    type=click.File("rb"),
    metavar="FILE",
    help="Replay these records instead: mended lines of `dlq export`, or - for standard input.",
)
@click.pass_context
def replay(
    ctx: click.Context,
    *,
    destination: str | None,
    where: LetterFilter,
    yes: bool,
    as_json: bool,
    check: bool,
    file: BinaryIO | None,
) -> None:
    """Put dead letters back into the buffer, at the end of the line; prints {"replayed": n}.

    Those that die meanwhile, or die again, are left alone. Exit code 2 when some could not be
    replayed: standard error has a line for each, and they stay dead letters.

    With --check and neither --yes nor a terminal it only prints what the vendor says; so it does
    with --from and --check, where standard error has a line for each that would be refused.
    """
    del as_json
    if file is not None:
        _replay_from(ctx, destination, where, file, yes=yes, check=check)
        return
    if not check:
        must_be_able_to_ask(yes)
    selections = _known(chosen(destination, where))
    without: AbstractSet[str] = frozenset()
    if check:
        said = _said(selections)
        if not yes and not has_person():
            click.echo(json.dumps({**said.to_json(), "replayed": 0}))
            return
        without = said.ids
        confirm_letters("Replay {} that would pass?", lambda: said.passed, yes=yes)
    else:
        confirm_letters("Replay {}?", lambda: _count(selections), yes=yes)
    told = _Told()
    replayed = sum(_replay_one(each, without, told) for each in selections)
    click.echo(json.dumps({"replayed": replayed}))
    if told.number:
        ctx.exit(REJECTED)


@click.command(short_help="Throw dead letters away, counted.")
@which
@yes_option
@_JSON
def purge(*, destination: str | None, where: LetterFilter, yes: bool, as_json: bool) -> None:
    """Throw dead letters away for good; prints {"purged": n}, which the totals count too."""
    del as_json
    from ..console.terminal import counted

    must_be_able_to_ask(yes)
    selections = chosen(destination, where)
    confirm_letters("Throw {} away for good?", lambda: _count(selections), yes=yes)
    with counted("purging", None) as advance:
        purged = sum(each.purge(advance) for each in selections)
    click.echo(json.dumps({"purged": purged}))


class _Told:
    """Tells on standard error what was not replayed, and counts it."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self, kept: NotReplayed) -> None:
        """One JSON object a line: which record, and the rules; never its values."""
        from uuid import UUID

        self.number += 1
        line = {"line": kept.position} if kept.position else {}
        told = {**line, "id": str(UUID(kept.id)), "errors": kept.errors}
        click.echo(json.dumps(told), err=True)

    def line(self, number: int, errors: object) -> None:
        """A line of a file that names no dead letter."""
        self.number += 1
        click.echo(json.dumps({"line": number, "errors": errors}), err=True)


def _replay_one(selection: Selection, without: AbstractSet[str], tell: _Told) -> int:
    from worker.dead_letters.replay import Replayer

    from ..console.terminal import counted

    letters = selection.letters
    with counted(f"replaying {letters.destination.name}", None) as advance:
        replays = Replayer(letters.client, letters.destination)
        return replays.replay(selection, tell, without=without, advance=advance)


def _known(selections: Iterable[Selection]) -> list[Selection]:
    """Those of destinations that are configured: nobody would deliver what others replay."""
    known = []
    for each in selections:
        if each.letters.destination.vendor:
            known.append(each)
        elif number := each.count():
            name = each.letters.destination.name
            click.echo(f"{name}: not configured, so {so_many_letters(number)} stay", err=True)
    return known


def _said(selections: Iterable[Selection]) -> ReplayCheck:
    """Ask the vendors, and tell a person what they say."""
    from worker.dead_letters.replay_check import ReplayCheck, check_replay

    from .check_records import asking

    said = ReplayCheck()
    for each in selections:
        if each.count():
            with asking(each.letters.destination) as ask:
                said = said.plus(check_replay(each, ask))
    click.echo(f"{said.passed} would pass, {said.refused} would be refused", err=True)
    for (code, text), number in said.refusals.most_common(20):
        click.echo(f"  {number} x {'no code' if code is None else code}: {text!r}", err=True)
    return said


def _replay_from(
    ctx: click.Context,
    destination: str | None,
    where: LetterFilter,
    file: BinaryIO,
    *,
    yes: bool,
    check: bool,
) -> None:
    """Replay or check a file's lines, each under the id and at the destination that it names."""
    from ..console.json_lines import chunks
    from .dlq_replay_file import MendedLines

    if (where.kind, where.code, where.id) != (None, None, None):
        raise Misuse("--from names its records itself: --destination alone narrows it down")
    if check and yes:
        raise Misuse("--from with --check replays nothing: leave one of --check and --yes out")
    if not check:
        must_be_able_to_ask(yes)
        if not yes:
            confirm(f"Replay the records of {file.name}?")
    told = _Told()
    lines = MendedLines(destination, told, told.line)
    if check:
        passed = sum(lines.check(chunk) for chunk in chunks(file))
        said = {"would_pass": passed, "would_be_refused": told.number, "replayed": 0}
        click.echo(json.dumps(said))
    else:
        click.echo(json.dumps({"replayed": sum(lines.replay(chunk) for chunk in chunks(file))}))
    if told.number:
        ctx.exit(REJECTED)


def _count(selections: Iterable[Selection]) -> int:
    return sum(each.count() for each in selections)
