"""`ingest send` and `ingest check`: JSON Lines, each line a record in the vendor's shape."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, BinaryIO

import click

from .. import options
from ..console.line_numbers import LineNumbers, LineNumbersType
from ..exit_codes import REJECTED, Failure

if TYPE_CHECKING:
    from .check_records import Checking
    from .send_records import Sending

_FILE = click.argument("file", type=click.File("rb"), default="-")
_DESTINATION = options.destination("Where to; the default one without it.")
_LINES = click.option(
    "--lines",
    type=LineNumbersType(),
    default="1-",
    metavar="N",
    help="Take these lines alone, as in 7,12-15,1001-.",
)


@click.command
@_FILE
@_DESTINATION
@_LINES
@click.option("--wait", is_flag=True, help="While the buffer is full or away, wait for it.")
@click.pass_context
def send(
    ctx: click.Context, file: BinaryIO, destination: str | None, lines: LineNumbers, wait: bool
) -> None:
    """Put the records of FILE (or -, standard input) into the buffer.

    One record a line, in the vendor's shape. Prints {"accepted": n, "rejected": n} at the end;
    each rejected line goes to standard error as {"line": n, "errors": {...}, "record": ...}.

    When the buffer is full or Redis is away, it stops with exit code 1 and tells which lines are
    left; with --wait it goes on when it can.
    """
    from worker.producer.encoder import RecordEncoder
    from worker.producer.producer import Producer
    from worker.settings.settings import Settings

    from ..clients import bulk
    from .send_records import Sending

    settings = Settings.from_env()
    producer = Producer(settings, bulk(settings))
    target = settings.destination(destination)
    sending = Sending(producer, RecordEncoder(settings), target, patient=wait)
    with _totals(ctx, sending):
        _run(sending, file, lines, "sending")


@click.command
@_FILE
@_DESTINATION
@_LINES
@click.option("--vendor", is_flag=True, help="Ask the vendor too, with a dry run.")
@click.pass_context
def check(
    ctx: click.Context, file: BinaryIO, destination: str | None, lines: LineNumbers, vendor: bool
) -> None:
    """Validate the records of FILE (or -, standard input), and send nothing.

    Tells what `send` would, and needs no Redis. --vendor also asks the vendor what it would
    refuse, which needs the account's secrets; nothing is stored there.
    """
    from worker.producer.encoder import RecordEncoder
    from worker.settings.settings import Settings

    from .check_records import Checking, asking

    settings = Settings.from_env()
    target = settings.destination(destination)
    with asking(target) if vendor else nullcontext() as ask:
        checking = Checking(RecordEncoder(settings), target, ask)
        with _totals(ctx, checking):
            _run(checking, file, lines, "checking")


@contextmanager
def _totals(ctx: click.Context, work: Sending | Checking) -> Iterator[None]:
    """Print what was done, also when it ended early; a rejected line decides the exit code."""
    try:
        yield
    finally:
        click.echo(str(work.account))
    if work.account.rejected:
        ctx.exit(REJECTED)


def _run(work: Sending | Checking, file: BinaryIO, lines: LineNumbers, what: str) -> None:
    from ..console.json_lines import chunks
    from ..console.terminal import bytes_read

    last, taken = 0, False
    try:
        with bytes_read(file, what) as advance:
            for chunk in chunks(file, lines.__contains__, advance):
                work.take(chunk)
                last, taken = chunk.last, taken or bool(chunk.lines or chunk.rejected)
            work.finish()
    except KeyboardInterrupt:  # while more was waited for, so what was read since is left too
        if what != "sending":  # a check is begun again
            raise
        raise Failure(f"interrupted; {what} goes on with --lines {last + 1}-") from None
    if not taken and lines != LineNumbers():
        click.echo(f"no line was taken: --lines {lines} of {last} lines", err=True)
