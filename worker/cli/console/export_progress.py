"""The progress bar of an export; without a terminal only what has to be said is said."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import click
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from worker.errors import VendorError
from worker.readback.client import reading
from worker.readback.counts import PendingCount
from worker.readback.queries import CountQuery

from .terminal import standard_error

if TYPE_CHECKING:
    from worker.readback.client import Reader
    from worker.readback.export_file import ExportProgress as Exported
    from worker.readback.queries import ExportQuery

#: Seconds an export may stand still for the bar's question.
_COUNT_WITHIN_S = 2.0


class Quiet:
    """For pipes and logs."""

    def say(self, text: str) -> None:
        """Tell a person on standard error."""
        click.echo(text, err=True)

    def on_page(self, exported: Exported) -> None:
        """How far the export came."""


class Bar(Quiet):
    """For terminals. An export does not tell how much is to come; the vendor's count does, once it
    has counted, which is asked for between pages: one question more in each ``count_poll_s``.
    The first failure is the last: the export is not to wait for its bar."""

    def __init__(self, progress: Progress, reader: Reader, query: ExportQuery) -> None:
        self._progress = progress
        self._clock = reader.clock
        self._total: int | None = None
        self._counting: PendingCount | None = PendingCount(
            reader, CountQuery(query.event, query.first, query.last), failures=1
        )
        self._due = self._clock()
        self._task = progress.add_task(query.event, total=None)

    def say(self, text: str) -> None:
        self._progress.console.print(text, markup=False)

    def on_page(self, exported: Exported) -> None:
        self._progress.update(self._task, completed=exported.records)
        if self._counting is not None and self._clock() >= self._due:
            self._count(self._counting)
        if self._total is not None and exported.records > self._total:
            self._total = None  # `update` takes a None for no change
            for task in self._progress.tasks:
                task.total = None if task.id == self._task else task.total

    def _count(self, counting: PendingCount) -> None:
        try:
            wait_s = counting.step()
        except VendorError:  # then there is no total; the export itself is not concerned
            wait_s = None
        if wait_s is not None:
            self._due = self._clock() + wait_s
            return
        self._counting = None
        self._total = counting.result
        self._progress.update(self._task, total=self._total)


@contextmanager
def export_bar(reader: Reader, query: ExportQuery) -> Iterator[Quiet]:
    """A bar on standard error while the block runs, where that is a terminal."""
    console = standard_error()
    if not console.is_terminal:
        yield Quiet()
        return
    hasty = replace(
        reader.destination,
        request_timeout_s=min(_COUNT_WITHIN_S, reader.destination.request_timeout_s),
    )
    with (
        reading(hasty) as asking,
        Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("events"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        ) as progress,
    ):
        yield Bar(progress, asking, query)
