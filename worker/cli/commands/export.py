"""`ingest export`: a vendor's events, to a file or to standard output."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich import progress as bars

from worker.errors import VendorError
from worker.settings.settings import Settings

from .. import options
from ..console.terminal import output, terminal
from ..exit_codes import Failure

if TYPE_CHECKING:
    from worker.readback.client import Reader
    from worker.readback.counts import PendingCount
    from worker.readback.export_file import ExportProgress, ExportTarget
    from worker.readback.queries import ExportQuery

_Say = Callable[[str], object]
_OnPage = Callable[["ExportProgress"], object]
#: Seconds for which an export may wait for the progress bar's question.
_COUNT_WITHIN_S = 2.0


@click.command
@click.argument("event")
@options.vendor_query
@click.option(
    "--out",
    metavar="FILE",
    help="Write to FILE, which makes the export resumable.  [default: standard output]",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "csv", "parquet"]),
    help="[default: by the extension of FILE, else jsonl]",
)
@click.option(
    "--column", "columns", multiple=True, metavar="PATH", help="A column of a CSV; may be repeated."
)
@click.option(
    "--batch-size", default=5000, show_default=True, help="Events per page, at most 5000."
)
@click.option("--app/--no-app", default=None, help="With or without the app's fields.")
@click.option("--profile/--no-profile", default=None, help="With or without custom profile fields.")
@click.option("--events/--no-events", default=None, help="With or without the event's properties.")
@click.option("--restart", is_flag=True, help="Ignore FILE's checkpoint and start over.")
def export(
    *,
    event: str,
    first: str,
    last: str,
    out: str | None,
    form: str | None,
    columns: Sequence[str],
    restart: bool,
    destination: str | None,
    **flags: Any,
) -> None:
    """Download the vendor's events named EVENT.

    With --out, the same command resumes an interrupted export; a finished FILE is overwritten.
    """
    from worker.readback.client import reading
    from worker.readback.export_file import ExportTarget
    from worker.readback.formats import format_of
    from worker.readback.queries import ExportQuery, day_number

    path = None if out in (None, "-") else Path(str(out))
    query = ExportQuery(event, day_number(first), day_number(last), **flags)
    target = ExportTarget(path or Path("-"), format_of(path, form, columns), columns)
    with reading(Settings.from_env().destination(destination)) as reader:
        if path is None:
            _to_standard_output(reader, query, target)
        else:
            _to_file(reader, query, target, restart=restart)


def _to_standard_output(reader: Reader, query: ExportQuery, target: ExportTarget) -> None:
    from worker.readback.export import pages_from_start
    from worker.readback.formats import encoder_of

    encoder = encoder_of(target.format, target.paths)
    reader.say = partial(click.echo, err=True)
    with output() as stream:
        stream.write(encoder.header)
        for page in pages_from_start(reader, query):
            stream.write(encoder.encode(page.records))
            stream.flush()


def _to_file(reader: Reader, query: ExportQuery, target: ExportTarget, *, restart: bool) -> None:
    from worker.readback.export_file import export_to_file

    with _progress(reader, query) as (say, on_page):
        try:
            done = export_to_file(reader, query, target, restart=restart, say=say, on_page=on_page)
        except OSError as error:
            raise Failure(
                f"cannot write {target.path}: {error.strerror}; repeat the command to resume"
            ) from error
        except KeyboardInterrupt:
            say("interrupted; repeat the command to resume")
            raise
    click.echo(f"{target.path}: {done.records} events, {done.size} bytes", err=True)


@contextmanager
def _progress(reader: Reader, query: ExportQuery) -> Iterator[tuple[_Say, _OnPage]]:
    """Show a bar on standard error in the block, if that is a terminal; else only messages."""
    from worker.readback.client import reading

    console = terminal(stderr=True)
    if not console.is_terminal:
        yield partial(click.echo, err=True), lambda _: None
        return
    limit_s = min(_COUNT_WITHIN_S, reader.destination.request_timeout_s)
    impatient = replace(reader.destination, request_timeout_s=limit_s)
    columns = (
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TextColumn("events"),
        bars.TimeElapsedColumn(),
        bars.TimeRemainingColumn(),
    )
    with reading(impatient) as counter, bars.Progress(*columns, console=console) as bar:
        yield partial(console.print, markup=False), ProgressBar(bar, counter, query).on_page


class ProgressBar:
    """A progress bar with the vendor's count as its total.

    The count is asked for between pages, one request in each ``count_poll_s``; after a failure
    there is no total, for the export must not wait for its bar.
    """

    def __init__(self, progress: bars.Progress, reader: Reader, query: ExportQuery) -> None:
        from worker.readback.counts import PendingCount
        from worker.readback.queries import CountQuery

        self._progress = progress
        self._clock = reader.clock
        self._total: int | None = None
        count = CountQuery(query.event, query.first, query.last)
        self._counting: PendingCount | None = PendingCount(reader, count, failures=1)
        self._due = self._clock()
        self._task = progress.add_task(query.event, total=None)

    def on_page(self, exported: ExportProgress) -> None:
        """Show how far the export is."""
        self._progress.update(self._task, completed=exported.records)
        if self._counting is not None and self._clock() >= self._due:
            self._count(self._counting)
        if self._total is not None and exported.records > self._total:
            self._total = None  # `update` takes None for no change
            for task in self._progress.tasks:
                task.total = None if task.id == self._task else task.total

    def _count(self, counting: PendingCount) -> None:
        try:
            wait_s = counting.step()
        except VendorError:
            wait_s = None
        if wait_s is not None:
            self._due = self._clock() + wait_s
            return
        self._counting = None
        self._total = counting.result
        self._progress.update(self._task, total=self._total)
