"""A file that is written bit by bit, by one process at a time: what was written is on the disk.

It is held by a lock while it is written; the lock ends with the process, however it ends.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..errors import InvalidQuery


class HeldFile:
    """The file while it is held; see `held`."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    @property
    def size(self) -> int:
        """The bytes written, or kept by `cut`."""
        return self._file.tell()

    def append(self, content: bytes) -> None:
        """Put bytes on the disk."""
        view = memoryview(content)
        while view:
            view = view[self._file.write(view) :]
        os.fsync(self._file.fileno())

    def holds(self, size: int) -> bool:
        """Whether the file has so many bytes, to the end of a line."""
        if os.fstat(self._file.fileno()).st_size < size:
            return False
        self._file.seek(max(0, size - 1))
        return size == 0 or self._file.read(1) == b"\n"

    def cut(self, size: int) -> None:
        """Keep so many bytes, and go on behind them."""
        self._file.truncate(size)
        self._file.seek(size)


@contextmanager
def held(path: Path) -> Iterator[HeldFile]:
    """Open and lock the file; remove it again if it was created here and stayed empty.

    InvalidQuery when it cannot be written, or is being written.
    """
    existed = path.exists()
    try:
        file = path.open("r+b" if existed else "x+b", buffering=0)
    except OSError as error:
        raise InvalidQuery(f"cannot write {path}: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InvalidQuery(f"{path} is being written by another export") from None
        try:
            yield HeldFile(file)
        except BaseException:
            if not existed and not os.fstat(file.fileno()).st_size:
                path.unlink(missing_ok=True)
            raise


def refuse_irregular(path: Path) -> None:
    """InvalidQuery for a folder, a device or a pipe: none can be cut, nor gone on with."""
    if path.is_dir():
        raise InvalidQuery(f"cannot write {path}: it is a folder")
    if path.exists() and not path.is_file():
        raise InvalidQuery(f"{path} is no regular file: use standard output, without --out")
