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
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

# A table in a file or a pipe is for a person or for grep: neither wants it cut at 80 columns.
_PIPE_WIDTH = 200


def terminal(*, stderr: bool = False) -> Console:
    """Return a console on standard output or standard error, as the stream is at this moment."""
    console = Console(stderr=stderr, highlight=False, emoji=False, markup=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    return console


def plain_table(*headings: str, **options: Any) -> Table:
    """Return a table without lines, as all of ours are."""
    return Table(*headings, box=None, pad_edge=False, header_style="bold", **options)


@contextmanager
def progress(
    what: str, total: int | None = None, stream: BinaryIO | None = None
) -> Iterator[Callable[[int], object]]:
    """Show a progress bar on standard error, if that is a terminal; yields its `advance`.

    It counts the bytes of ``stream`` if one is given, else things, of which there are ``total``.
    A total of None, and a stream without a size, give a bar without an end.
    """
    console = terminal(stderr=True)
    if not console.is_terminal:
        yield lambda _: None
        return
    total = total if stream is None else _size(stream)
    numbers = [DownloadColumn(), TransferSpeedColumn()] if stream else [MofNCompleteColumn()]
    columns = (TextColumn("{task.description}"), BarColumn(), *numbers, TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda number: bar.advance(task, number)


def _size(stream: BinaryIO) -> int | None:
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None
