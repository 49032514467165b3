"""Where text for people goes: colour and width as the terminal has them, plain text elsewhere."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

# A table in a file or a pipe is read by a person or by grep: neither wants it cut at 80 columns.
_PIPE_WIDTH = 200


def standard_output() -> Console:
    """A console on standard output; made when used, so that it meets the stream of the moment."""
    return _console(Console(highlight=False, soft_wrap=False, emoji=False, markup=False))


def standard_error() -> Console:
    """The same on standard error."""
    return _console(Console(stderr=True, highlight=False, emoji=False, markup=False))


def _console(console: Console) -> Console:
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    return console


def plain_table(*headings: str, **more: Any) -> Table:
    """A table without lines, as all of ours are."""
    return Table(*headings, box=None, pad_edge=False, header_style="bold", **more)


@contextmanager
def bytes_read(stream: BinaryIO, what: str) -> Iterator[Callable[[int], object]]:
    """A progress bar on standard error while the block runs; gives what to tell the bytes to.

    Without a terminal there is none. A stream without a size gets a bar without an end.
    """
    with _bar(what, _size(stream), DownloadColumn(), TransferSpeedColumn()) as advance:
        yield advance


@contextmanager
def counted(what: str, total: int | None) -> Iterator[Callable[[int], object]]:
    """The same for things that are counted; ``total`` is None when nobody knows how many."""
    with _bar(what, total, MofNCompleteColumn()) as advance:
        yield advance


@contextmanager
def _bar(
    what: str, total: int | None, *numbers: ProgressColumn
) -> Iterator[Callable[[int], object]]:
    console = standard_error()
    if not console.is_terminal:
        yield lambda _: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), *numbers, TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda number: progress.advance(task, number)


def _size(stream: BinaryIO) -> int | None:
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None
