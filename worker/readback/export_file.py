"""An export to a file that resumes where it was, on whatever line the process died.

For each page, in this order: its bytes to the file, and to the disk; then the checkpoint, with the
number of valid bytes and the next cursor. On resuming, bytes after the last checkpoint are cut off
and their page is requested again: no gap, no duplicate.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Final

from ..connections.file_lock import lock_file
from ..errors import InvalidQuery, Stopped, VendorError
from .checkpoint import Checkpoint, sync_folder
from .client import Reader
from .export import RESTARTS, CursorLost, pages, start
from .formats import encoder_of, to_parquet
from .queries import ExportQuery

_RESTARTING: Final = "restarting from the beginning, and overwriting the file"


@dataclass(frozen=True, slots=True)
class ExportProgress:
    """The events and bytes in the file so far."""

    records: int
    size: int


@dataclass(frozen=True, slots=True)
class ExportTarget:
    """The file of an export and its format; ``paths`` are the columns of a CSV."""

    path: Path
    format: str = "jsonl"
    paths: Sequence[str] = ()

    @property
    def checkpoint(self) -> Path:
        """The checkpoint's file."""
        return self.path.with_name(self.path.name + ".checkpoint")

    @property
    def data(self) -> Path:
        """The file to append pages to; Parquet is converted from it at the end."""
        if self.format != "parquet":
            return self.path
        return self.path.with_name(self.path.name + ".part")


def export_to_file(
    reader: Reader,
    query: ExportQuery,
    target: ExportTarget,
    *,
    restart: bool = False,
    say: Callable[[str], object] = lambda _: None,
    on_page: Callable[[ExportProgress], object] = lambda _: None,
    stopping: Callable[[], bool] = lambda: False,
) -> ExportProgress:
    """Export to a file, or resume an export to it; return the file's size.

    ``restart`` discards an earlier checkpoint. ``say`` receives messages for a person, ``on_page``
    the progress; ``stopping`` is checked between pages, and Stopped raised. InvalidQuery if the
    file belongs to another export, or is being written. After a VendorError, or a kill, the same
    call resumes; a file without a checkpoint is overwritten.
    """
    refuse_irregular(target.path)
    identity = _identity(reader, query, target)
    reader.say = say
    with locked(target.data) as file:
        found = None if restart else Checkpoint.load(target.checkpoint)
        found = _matching(target, found, identity)
        export = _Export(reader, file, target, identity, on_page)
        export.resume(found)
        try:
            export.run(query, stopping)
        except VendorError:
            if not export.progress.size:  # nothing to resume
                target.checkpoint.unlink(missing_ok=True)
            raise
        return export.finish()


def _identity(reader: Reader, query: ExportQuery, target: ExportTarget) -> dict[str, Any]:
    """Return what identifies an export; the page size is not part of it."""
    parameters = {key: value for key, value in query.parameters.items() if key != "batch_size"}
    account = {"url": reader.reads.base_url, "account": reader.destination.account.public_id}
    form = {"format": target.format, "columns": list(target.paths)}
    return {**query.body, **parameters, **account, **form}


def _matching(
    target: ExportTarget, found: Checkpoint | None, identity: Mapping[str, Any]
) -> Checkpoint | None:
    """Return the checkpoint if it belongs to this export; discard an empty one of another."""
    if found is None or found.query == identity:
        return found
    if not found.size:
        return None
    theirs = found.query
    raise InvalidQuery(
        f"{target.checkpoint} belongs to another export ({theirs.get('event_name')}, "
        f"{theirs.get('from')} to {theirs.get('to')}): finish that one, name another file, "
        "or start this one with --restart"
    )


class LockedFile:
    """The file while one process appends to it, synced to disk after each write; see `locked`."""

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


class _Export:
    """A running export to one file; ``at`` is its last checkpoint."""

    def __init__(
        self,
        reader: Reader,
        file: LockedFile,
        target: ExportTarget,
        identity: Mapping[str, Any],
        on_page: Callable[[ExportProgress], object],
    ) -> None:
        self._reader, self._file, self._target, self._on_page = reader, file, target, on_page
        self._encoder = encoder_of(target.format, target.paths)
        self._empty = Checkpoint(identity, None)
        self._at = self._empty
        self._started = False

    @property
    def progress(self) -> ExportProgress:
        return ExportProgress(self._at.records, self._at.size)

    def resume(self, found: Checkpoint | None) -> None:
        """Continue from a checkpoint, if the file still holds its bytes."""
        if found is None:
            return
        if not self._file.holds(found.size):
            self._reader.say(f"{self._target.data} does not match its checkpoint; {_RESTARTING}")
            return
        self._file.cut(found.size)
        self._at, self._started = found, True
        self._reader.say(f"resuming after {found.records} events, {found.size} bytes")
        self._on_page(self.progress)

    def run(self, query: ExportQuery, stopping: Callable[[], bool]) -> None:
        """Export the remaining pages; restart when the cursor is lost."""
        for _ in range(RESTARTS + 1):
            try:
                if not self._started:
                    self._restart(start(self._reader, query))
                if self._at.cursor is not None:
                    self._read(self._at.cursor, stopping)
            except CursorLost as error:
                lost = error
                self._reader.say(
                    f"the vendor no longer knows the cursor after {self._at.records} events "
                    f"({error}); {_RESTARTING}"
                )
                self._started = False
            else:
                return
        raise VendorError(
            f"the export's cursor was lost {RESTARTS + 1} times ({lost}): ask for fewer days"
        )

    def _restart(self, cursor: str) -> None:
        """Start from the beginning. The checkpoint comes first: only then is the file cut."""
        self._save(replace(self._empty, cursor=cursor))
        self._started = True
        self._file.cut(0)

    def _read(self, cursor: str, stopping: Callable[[], bool]) -> None:
        loop = self._at.loop if self._at.loop.mark else None
        for page in pages(self._reader, cursor, loop):
            self._append(self._encoder.encode(page.records))
            size, records = self._file.size, self._at.records + len(page.records)
            self._save(Checkpoint(self._at.query, page.next_cursor, size, records, page.loop))
            self._on_page(self.progress)
            if page.next_cursor is not None and stopping():
                raise Stopped(f"stopped after {self._at.records} events; the same call resumes")

    def finish(self) -> ExportProgress:
        """Convert to Parquet if requested, and remove the checkpoint."""
        if not self._at.size:
            self._append(b"")
        target = self._target
        if target.format == "parquet":
            to_parquet(target.data, target.path)
        target.checkpoint.unlink(missing_ok=True)
        if target.data != target.path:
            target.data.unlink(missing_ok=True)
        sync_folder(target.path)
        return ExportProgress(self._at.records, target.path.stat().st_size)

    def _append(self, content: bytes) -> None:
        """Write bytes to disk, after the header if they are the first."""
        self._file.append(content if self._file.size else self._encoder.header + content)

    def _save(self, checkpoint: Checkpoint) -> None:
        checkpoint.save(self._target.checkpoint)
        self._at = checkpoint
