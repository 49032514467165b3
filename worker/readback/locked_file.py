"""An export's file: locked while one process appends to it, and synced to disk after each write."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..connections.file_lock import lock_file
from ..errors import InvalidQuery


class LockedFile:
    """The file while it is locked; see `locked`."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    @property
    def size(self) -> int:
        """The bytes written, or kept by `cut`."""
        return self._file.tell()

    def append(self, content: bytes) -> None:
        """Write bytes to disk."""
        view = memoryview(content)
        while view:
            view = view[self._file.write(view) :]
        os.fsync(self._file.fileno())

    def holds(self, size: int) -> bool:
        """Return whether the file has ``size`` bytes, to the end of a line."""
        if os.fstat(self._file.fileno()).st_size < size:
            return False
        self._file.seek(max(0, size - 1))
        return size == 0 or self._file.read(1) == b"\n"

    def cut(self, size: int) -> None:
        """Keep the first ``size`` bytes, and append behind them."""
        self._file.truncate(size)
        self._file.seek(size)


@contextmanager
def locked(path: Path) -> Iterator[LockedFile]:
    """Open and lock the file; after an error, remove it if it was created here and is empty.

    InvalidQuery if it cannot be written, or another export writes it.
    """
    existed = path.exists()
    try:
        file = path.open("r+b" if existed else "x+b", buffering=0)
    except OSError as error:
        raise InvalidQuery(f"cannot write {path}: {error.strerror}") from error
    with file:
        if not lock_file(file):
            raise InvalidQuery(f"{path} is being written by another export")
        try:
            yield LockedFile(file)
        except BaseException:
            if not existed and not os.fstat(file.fileno()).st_size:
                path.unlink(missing_ok=True)
            raise


def refuse_irregular(path: Path) -> None:
    """Raise InvalidQuery for a folder, a device or a pipe: they cannot be cut or resumed."""
    if path.is_dir():
        raise InvalidQuery(f"cannot write {path}: it is a folder")
    if path.exists() and not path.is_file():
        raise InvalidQuery(f"{path} is not a regular file; omit --out to use standard output")
