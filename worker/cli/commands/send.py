"""`ingest send` and `ingest check`: JSON Lines, each line a record in the vendor's shape."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, BinaryIO

import click

from worker.settings.settings import Settings

from .. import options
from ..clients import bulk_client
from ..console.json_lines import LineNumbers, chunks
from ..console.terminal import progress
from ..exit_codes import REJECTED, Failure

if TYPE_CHECKING:
    from .send_records import RecordChecker, RecordSender

_FILE = click.argument("file", type=click.File("rb"), default="-")
_DESTINATION = options.destination("The records' destination.  [default: the default destination]")
_LINES = click.option(
    "--lines",
    type=LineNumbers.parse,
    default="1-",
    metavar="N",
    help="Take only these lines, for example 7,12-15,1001-.",
)


@click.command
@_FILE
@_DESTINATION
@_LINES
@click.option("--wait", is_flag=True, help="Wait while the buffer is full or unreachable.")
def send(file: BinaryIO, destination: str | None, lines: LineNumbers, wait: bool) -> None:
    """Put the records of FILE (or -, standard input) into the buffer.

    One record a line, in the vendor's shape. Prints {"accepted": n, "rejected": n} at the end;
    each rejected line goes to standard error as {"line": n, "errors": {...}, "record": ...}.

    If the buffer is full or Redis is unreachable, it stops with exit code 1 and reports which
    lines are left; with --wait it continues as soon as it can.
    """
    from worker.producer.encoder import RecordEncoder
    from worker.producer.producer import Producer

    from .send_records import RecordSender

    settings = Settings.from_env()
    producer = Producer(settings, bulk_client(settings))
    target = settings.destination(destination)
    _run(RecordSender(producer, RecordEncoder(settings), target, patient=wait), file, lines)


@click.command
@_FILE
@_DESTINATION
@_LINES
@click.option("--vendor", is_flag=True, help="Also ask the vendor, with a dry run.")
def check(file: BinaryIO, destination: str | None, lines: LineNumbers, vendor: bool) -> None:
    """Validate the records of FILE (or -, standard input) without sending them.

    Reports what `send` would, and needs no Redis. --vendor also asks the vendor what it would
    reject; that needs the account's secrets, and the vendor stores nothing.
    """
    from worker.delivery.dry_run import dry_run
    from worker.producer.encoder import RecordEncoder

    from .send_records import RecordChecker

    settings = Settings.from_env()
    target = settings.destination(destination)
    with dry_run(target) if vendor else nullcontext() as asked:
        check_batch = asked.verdicts if asked else None
        _run(RecordChecker(RecordEncoder(settings), target, check_batch), file, lines)


def _run(work: RecordSender | RecordChecker, file: BinaryIO, lines: LineNumbers) -> None:
    """Do the work, and print its tally even if it fails; exit with 2 for a rejected line."""
    ctx = click.get_current_context()
    last, found = 0, False
    try:
        with progress(f"{ctx.command.name}ing", stream=file) as advance:
            for chunk in chunks(file, lines.__contains__, advance):
                work.take(chunk)
                last, found = chunk.last, found or bool(chunk.lines or chunk.rejected)
        if not found and lines != LineNumbers():
            click.echo(f"no line matches --lines {lines}: the input has {last}", err=True)
    except KeyboardInterrupt:  # while waiting for input: what was read since is left too
        if ctx.command is check:  # it starts from the beginning
            raise
        raise Failure(f"interrupted; to continue, use --lines {last + 1}-") from None
    finally:
        click.echo(str(work.tally))
    if work.tally.rejected:
        ctx.exit(REJECTED)
