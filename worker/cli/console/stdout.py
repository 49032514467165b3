"""Bytes to standard output, to the last one: whatever it is, and however it was opened.

Python's own stream does not do it: under PYTHONUNBUFFERED it writes a part and says so to nobody,
and on a pipe that its reader made non-blocking it gives up.
"""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from ..exit_codes import Failure

_BUFFER = 64 * 1024


@contextmanager
def output() -> Iterator[IO[bytes]]:
    """Standard output for bytes; they are out when the block ends, or when it is flushed.

    Failure where it is closed or takes no more; a reader that went away is left to click.
    """
    refuse_closed_output()
    sys.stdout.flush()
    try:
        descriptor = sys.stdout.fileno()
    except OSError:  # a stream in memory, as tests have it
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    outlet = _Outlet(descriptor)
    stream = io.BufferedWriter(outlet, _BUFFER)
    try:
        yield stream
        stream.flush()
    finally:
        outlet.open = False  # what a failure left in the buffer is not tried again


def refuse_closed_output() -> None:
    """A Failure where there is none (`>&-`): before a vendor is asked for minutes."""
    if sys.stdout is None:
        raise Failure("standard output is closed")


def emit(text: str) -> None:
    """A text and a line feed to standard output."""
    with output() as stream:
        encoding = sys.stdout.encoding or "utf-8"
        stream.write(f"{text}\n".encode(encoding, "backslashreplace"))


class _Outlet(io.RawIOBase):
    """A descriptor that is not ours to close; a full pipe is waited for."""

    def __init__(self, descriptor: int) -> None:
        self.open = True
        self._descriptor = descriptor

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        """Some of the bytes, at least one; BufferedWriter asks again for the rest."""
        while self.open:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:
                select.select([], [self._descriptor], [])
            except BrokenPipeError:
                raise
            except OSError as error:
                raise Failure(f"cannot write to standard output: {error.strerror}") from error
        return len(data)
