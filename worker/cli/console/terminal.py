"""Where text for people goes: colour and width as the terminal has them, plain text elsewhere."""

from __future__ import annotations

import io
import os
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, BinaryIO

from rich import progress as bars
from rich.console import Console
from rich.table import Column, Table

from ..exit_codes import Failure

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


_BUFFER = 64 * 1024


@contextmanager
def output() -> Iterator[IO[bytes]]:
    """Open standard output for bytes; they are written when the block ends, or on `flush`.

    Python's own stream may write a part under PYTHONUNBUFFERED, and gives up on a pipe that its
    reader made non-blocking.

    Failure if it is closed or cannot be written; a broken pipe is left to click.
    """
    refuse_closed_output()
    sys.stdout.flush()
    try:
        descriptor = sys.stdout.fileno()
    except OSError:  # a stream in memory, as tests have it
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    os.set_blocking(descriptor, True)
    raw = io.FileIO(descriptor, "wb", closefd=False)
    stream = io.BufferedWriter(raw, _BUFFER)
    try:
        yield stream
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Failure(f"cannot write to standard output: {error.strerror}") from error
    finally:
        raw.close()  # or the buffer would write what a failure left in it


def refuse_closed_output() -> None:
    """Raise a Failure if it is closed (`>&-`): before a vendor is asked for minutes."""
    if sys.stdout is None:
        raise Failure("standard output is closed")


def emit(text: str) -> None:
    """Write a text and a line feed to standard output."""
    with output() as stream:
        encoding = sys.stdout.encoding or "utf-8"
        stream.write(f"{text}\n".encode(encoding, "backslashreplace"))


# SIGHUP: the terminal was closed.
_STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """The requests to stop: the first (`stop`) stops in order, the second (`hurry`) at once.

    The handler only notes them: whatever it interrupts continues.
    """

    stop = hurry = False

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Note them in the block, instead of ending the process."""
        before = {number: signal.signal(number, self._note) for number in _STOP}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, *_: object) -> None:
        self.stop, self.hurry = True, self.stop
