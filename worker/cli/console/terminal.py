"""Where text for people goes: colour and width as the terminal has them, plain text elsewhere."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from rich import progress as bars
from rich.console import Console
from rich.table import Column, Table

# A table in a file or a pipe is for a person or for grep: neither wants it cut at 80 columns.
_PIPE_WIDTH = 200


def terminal(*, stderr: bool = False) -> Console:
    """Return a console on standard output or standard error, as the stream is at this moment."""
    console = Console(stderr=stderr, highlight=False, emoji=False, markup=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    return console


def plain_table(*headings: Column | str, **options: Any) -> Table:
    """Return a table without lines, as all of ours are."""
    return Table(*headings, box=None, pad_edge=False, header_style="bold", **options)


def printable(text: str) -> str:
    """Return a vendor's or a caller's text without what a terminal would obey."""
    return "".join(each if each.isprintable() else " " for each in text)


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
    columns: list[bars.ProgressColumn] = [
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
    ]
    if stream:
        columns[-1:] = [bars.DownloadColumn(), bars.TransferSpeedColumn()]
        total = _size(stream)
    columns.append(bars.TimeRemainingColumn())
    with bars.Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda number: bar.advance(task, number)


def _size(stream: BinaryIO) -> int | None:
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None
