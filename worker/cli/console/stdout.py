"""Bytes to standard output, to the last one, whatever it is and however it was opened.

Python's own stream does not guarantee that: under PYTHONUNBUFFERED it may write a part and report
no error, and on a pipe that its reader made non-blocking it gives up.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from ..exit_codes import Failure

_BUFFER = 64 * 1024


@contextmanager
def output() -> Iterator[IO[bytes]]:
    """Open standard output for bytes; they are written when the block ends, or on `flush`.

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
