"""`ingest dlq replay` and `ingest dlq purge`: they move dead letters, and ask before they do."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, BinaryIO

import click

from .. import options
from ..clients import select_letters
from ..console.terminal import progress
from ..exit_codes import REJECTED, Misuse

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from worker.dead_letters.letters import LetterFilter, Selection
    from worker.dead_letters.replay_check import ReplayCheck

_YES = click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")


@click.command(short_help="Put dead letters back into the buffer.")
@options.letter_filter
@_YES
@options.needless_json("JSON")
@click.option(
    "--check", is_flag=True, help="Ask the vendor first (dry run), and replay only what would pass."
)
@click.option(
    "--from",
    "file",
    type=click.File("rb"),
    metavar="FILE",
    help="Replay the edited lines of `dlq export` in FILE (or -, standard input) instead.",
)
@click.pass_context
def replay(
    ctx: click.Context,
    *,
    destination: str | None,
    where: LetterFilter,
    yes: bool,
    check: bool,
    file: BinaryIO | None,
) -> None:
    """Put dead letters back into the buffer, at the end of the queue; prints {"replayed": n}.

    Only those that are dead when it starts. Exit code 2 if some could not be replayed: standard
    error has a line for each of them, and they stay dead letters.

    With --check, but without --yes or a terminal, it only prints what the vendor says. --from with
    --check replays nothing either; standard error has a line for each that would be refused.
    """
    if file is not None:
        refused = _replay_file(destination, where, file, yes=yes, check=check)
    else:
        refused = _replay_letters(destination, where, yes=yes, check=check)
    if refused:
        ctx.exit(REJECTED)


@click.command(short_help="Delete dead letters; the totals count them.")
@options.letter_filter
@_YES
@options.needless_json("JSON")
def purge(destination: str | None, where: LetterFilter, yes: bool) -> None:
    """Delete dead letters for good; prints {"purged": n}, which the totals count too."""
    _require_answer(yes)
    selections = select_letters(destination, where)
    _confirm_letters("Delete {} for good?", (each.count() for each in selections), yes=yes)
    with progress("purging") as advance:
        purged = sum(each.purge(advance) for each in selections)
    click.echo(json.dumps({"purged": purged}))


def _replay_letters(destination: str | None, where: LetterFilter, *, yes: bool, check: bool) -> int:
    """Replay dead letters as they are; return how many could not be replayed."""
    if not check:
        _require_answer(yes)
    selections = _configured(select_letters(destination, where))
    without: AbstractSet[str] = frozenset()
    if check:
        result = _ask_vendors(selections)
        if not yes and not sys.stdin.isatty():
            click.echo(json.dumps({**result.to_json(), "replayed": 0}))
            return 0
        without = result.ids
        _confirm_letters("Replay {} that would pass?", [result.passed], yes=yes)
    else:
        _confirm_letters("Replay {}?", (each.count() for each in selections), yes=yes)
    return _replay_selections(selections, without)


def _replay_selections(selections: Iterable[Selection], without: AbstractSet[str]) -> int:
    from worker.dead_letters.replay import NotReplayed, Replayer

    from .dlq_replay_file import refusal_line

    replayed = refused = 0

    def report(record: NotReplayed) -> None:
        nonlocal refused
        refused += 1
        click.echo(refusal_line(record), err=True)

    for each in selections:
        letters = each.letters
        with progress(f"replaying {letters.destination.name}") as advance:
            replayer = Replayer(letters.client, letters.destination)
            replayed += replayer.replay(each, report, without=without, advance=advance)
    click.echo(json.dumps({"replayed": replayed}))
    return refused


def _configured(selections: Iterable[Selection]) -> list[Selection]:
    """Return those of configured destinations: no process would deliver the others."""
    configured = []
    for each in selections:
        if each.letters.destination.vendor:
            configured.append(each)
        elif number := each.count():
            name = each.letters.destination.name
            click.echo(f"{name}: not configured, so {_letters(number)} stay", err=True)
    return configured


def _ask_vendors(selections: Iterable[Selection]) -> ReplayCheck:
    """Ask the vendors, and summarise their verdicts on standard error."""
    from worker.dead_letters.replay_check import ReplayCheck, check_replay
    from worker.delivery.dry_run import dry_run

    result = ReplayCheck()
    for each in selections:
        if each.count():
            with dry_run(each.letters.destination) as asked:
                result = result.plus(check_replay(each, asked.verdicts))
    click.echo(f"{result.passed} would pass, {result.refused} would be refused", err=True)
    for (code, text), number in result.refusals.most_common(20):
        click.echo(f"  {number} x {'no code' if code is None else code}: {text!r}", err=True)
    return result


def _replay_file(
    destination: str | None, where: LetterFilter, file: BinaryIO, *, yes: bool, check: bool
) -> int:
    """Replay or check a file's lines, and print the counts; return how many were refused."""
    from ..console.json_lines import chunks
    from .dlq_replay_file import FileReplayer

    if (where.kind, where.code, where.id) != (None, None, None):
        raise Misuse("--from can only be combined with --destination: its lines name the records")
    if check and yes:
        raise Misuse("--from with --check replays nothing: leave out --check or --yes")
    if not check:
        _require_answer(yes)
        if not yes:
            click.confirm(f"Replay the records of {file.name}?", err=True, abort=True)
    replayer = FileReplayer(destination)
    tally = replayer.tally
    for chunk in chunks(file):
        replayer.take(chunk, check=check)
    counts = {"would_pass": tally.accepted, "would_be_refused": tally.rejected, "replayed": 0}
    click.echo(json.dumps(counts if check else {"replayed": tally.accepted}))
    return tally.rejected


def _require_answer(yes: bool) -> None:
    """Raise Misuse, before any work is done, if a question is needed and cannot be asked."""
    if not yes and not sys.stdin.isatty():
        raise Misuse("not a terminal: pass --yes to go ahead without confirmation")


def _confirm_letters(question: str, numbers: Iterable[int], *, yes: bool) -> None:
    """Ask ``question``, on standard error, with the number of dead letters, if there are any.

    They are counted only for the question, which may take a while. Exit code 1 without a yes.
    """
    if not yes and (number := sum(numbers)):
        click.confirm(question.format(_letters(number)), err=True, abort=True)


def _letters(number: int) -> str:
    return f"{number} dead letter{'' if number == 1 else 's'}"
