"""An export to a file that resumes where it was, on whatever line the process died.

For each page, in this order: its bytes to the file, and to the disk; then the checkpoint, with the
number of valid bytes and the next cursor. On resuming, bytes after the last checkpoint are cut off
and their page is requested again: no gap, no duplicate.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from ..connections.file_lock import lock_file
from ..errors import InvalidQuery, Stopped, VendorError
from ..vendors.clevertap.reads import cursor_in
from .client import Reader
from .export import RESTARTS, CursorLoop, CursorLost, pages, start
from .formats import encoder_of, to_parquet
from .queries import ExportQuery


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The first ``size`` bytes of the file hold ``records`` events: all those before ``cursor``.

    ``cursor`` is None at the end of the export. ``query`` identifies the export; ``loop``
    (``trail`` in the file) detects a loop of cursors across restarts.
    """

    query: Mapping[str, Any]
    cursor: str | None
    size: int = 0
    records: int = 0
    loop: CursorLoop = field(default_factory=CursorLoop)

    @classmethod
    def load(cls, path: Path) -> Checkpoint | None:
        """Return the checkpoint in a file, None without one; InvalidQuery if it is damaged."""
        try:
            return cls._read(json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise InvalidQuery(
                f"{path} is not a valid checkpoint; remove it to start the export again"
            ) from error
        except OSError as error:
            raise InvalidQuery(f"cannot read {path}: {error.strerror}") from error

    @classmethod
    def _read(cls, content: dict[str, Any]) -> Checkpoint:
        """Build a checkpoint from parsed JSON; raise if a part has another type."""
        loop = CursorLoop(**content.get("trail", {}))
        found = cls(**{key: content[key] for key in content if key != "trail"}, loop=loop)
        cursor_in(content, "cursor")
        numbers = (found.size, found.records, loop.steps, loop.span)
        if any(type(each) is not int or each < 0 for each in numbers):
            raise ValueError("not a whole number")
        if type(content["query"]) is not dict or type(loop.mark) is not str:
            raise TypeError("a part has another type")
        return found

    def save(self, path: Path) -> None:
        """Write it to disk; a crash leaves either this checkpoint or the one before."""
        fresh = path.with_name(path.name + ".new")
        content = asdict(self)
        content["trail"] = content.pop("loop")
        with fresh.open("wb") as file:
            file.write(json.dumps(content).encode())
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        sync_folder(path)


def sync_folder(path: Path) -> None:
    """Write to disk that a file was created, removed or renamed."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


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
        is_final = self.format != "parquet"
        return self.path if is_final else self.path.with_name(self.path.name + ".part")


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
    if target.path.is_dir():
        raise InvalidQuery(f"cannot write {target.path}: it is a folder")
    if target.path.exists() and not target.path.is_file():  # a device or a pipe cannot be resumed
        raise InvalidQuery(
            f"{target.path} is not a regular file; omit --out to use standard output"
        )
    reader.say = say
    with locked(target.data) as file:
        empty = Checkpoint(_identity(reader, query, target), None)
        export = _Export(reader, file, target, on_page, empty)
        if not restart:
            export.resume(Checkpoint.load(target.checkpoint))
        try:
            export.run(query, stopping)
        except VendorError:
            if not export.at.size:  # nothing to resume
                target.checkpoint.unlink(missing_ok=True)
            raise
        return export.finish()


def _identity(reader: Reader, query: ExportQuery, target: ExportTarget) -> dict[str, Any]:
    """Return what identifies an export; the page size is not part of it."""
    parameters = {key: value for key, value in query.parameters.items() if key != "batch_size"}
    account = {"url": reader.reads.base_url, "account": reader.destination.account.public_id}
    form = {"format": target.format, "columns": list(target.paths)}
    return {**query.body, **parameters, **account, **form}


@dataclass(slots=True)
class _Export:
    """A running export to one file; ``at`` is its last checkpoint."""

    reader: Reader
    file: LockedFile
    target: ExportTarget
    on_page: Callable[[ExportProgress], object]
    at: Checkpoint
    started: bool = False

    def resume(self, found: Checkpoint | None) -> None:
        """Continue from a checkpoint, if the file still holds its bytes.

        InvalidQuery if it belongs to another export, unless that has written nothing yet.
        """
        if found is None:
            return
        theirs, data = found.query, self.target.data
        if theirs != self.at.query:
            if not found.size:
                return
            raise InvalidQuery(
                f"{self.target.checkpoint} belongs to another export ({theirs.get('event_name')}, "
                f"{theirs.get('from')} to {theirs.get('to')}): finish that one, name another file, "
                "or start this one with --restart"
            )
        if not self.file.holds(found.size):
            self.reader.say(f"{data} does not match its checkpoint; {_RESTARTING}")
            return
        self.file.cut(found.size)
        self.at, self.started = found, True
        self.reader.say(f"resuming after {found.records} events, {found.size} bytes")
        self.on_page(ExportProgress(found.records, found.size))

    def run(self, query: ExportQuery, stopping: Callable[[], bool]) -> None:
        """Export the remaining pages; restart when the cursor is lost."""
        for _ in range(RESTARTS + 1):
            try:
                if not self.started:
                    # The checkpoint comes first: only then is the file cut.
                    self._save(Checkpoint(self.at.query, start(self.reader, query)))
                    self.started = True
                    self.file.cut(0)
                if self.at.cursor is not None:
                    self._read(self.at.cursor, stopping)
            except CursorLost as error:
                lost = error
                self.reader.say(
                    f"the vendor no longer knows the cursor after {self.at.records} events "
                    f"({error}); {_RESTARTING}"
                )
                self.started = False
            else:
                return
        raise VendorError(
            f"the export's cursor was lost {RESTARTS + 1} times ({lost}): ask for fewer days"
        )

    def _read(self, cursor: str, stopping: Callable[[], bool]) -> None:
        encoder = encoder_of(self.target.format, self.target.paths)
        for page in pages(self.reader, cursor, self.at.loop if self.at.loop.mark else None):
            content = encoder.encode(page.records)
            self.file.append(content if self.file.size else encoder.header + content)
            records, size = self.at.records + len(page.records), self.file.size
            self._save(Checkpoint(self.at.query, page.next_cursor, size, records, page.loop))
            self.on_page(ExportProgress(records, size))
            if page.next_cursor is not None and stopping():
                raise Stopped(f"stopped after {records} events; the same call resumes")

    def finish(self) -> ExportProgress:
        """Convert to Parquet if requested, and remove the checkpoint."""
        target = self.target
        if target.format == "parquet":
            to_parquet(target.data, target.path)
        target.checkpoint.unlink(missing_ok=True)
        if target.data != target.path:
            target.data.unlink(missing_ok=True)
        sync_folder(target.path)
        return ExportProgress(self.at.records, target.path.stat().st_size)

    def _save(self, checkpoint: Checkpoint) -> None:
        checkpoint.save(self.target.checkpoint)
        self.at = checkpoint


class LockedFile:
    """An export's file while this process has locked it; each write is synced to disk."""

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
