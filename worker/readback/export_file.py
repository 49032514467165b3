"""An export to a file that goes on where it was, on whatever line the process died.

For each page, in this order: its bytes to the file, and to the disk; then the checkpoint, which
says how many bytes hold and which cursor comes next. What was written after the last checkpoint is
cut off when the export goes on, and its page asked for again: no gap, no double.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from ..errors import InvalidQuery, Stopped, VendorError
from .checkpoint import Checkpoint, sync_folder
from .client import Reader
from .export import RESTARTS, CursorLost, pages, start
from .formats import Encoder, encoder_of, to_parquet
from .locked_file import HeldFile, held, refuse_irregular
from .queries import ExportQuery

_AGAIN: Final = "beginning again from the start, and writing the file anew"


@dataclass(frozen=True, slots=True)
class Progress:
    """What a file holds so far."""

    records: int
    size: int


@dataclass(frozen=True, slots=True)
class Target:
    """Where an export goes, and as what; ``paths`` are a CSV's columns."""

    path: Path
    format: str = "jsonl"
    paths: Sequence[str] = ()

    @property
    def checkpoint(self) -> Path:
        """The checkpoint's file."""
        return self.path.with_name(self.path.name + ".checkpoint")

    @property
    def data(self) -> Path:
        """The file that pages are appended to: Parquet cannot be, and is made of it at the end."""
        if self.format != "parquet":
            return self.path
        return self.path.with_name(self.path.name + ".part")


def export_to_file(
    reader: Reader,
    query: ExportQuery,
    target: Target,
    *,
    restart: bool = False,
    say: Callable[[str], object] = lambda _: None,
    on_page: Callable[[Progress], object] = lambda _: None,
    stopping: Callable[[], bool] = lambda: False,
) -> Progress:
    """Export to a file, or go on with an export to it; returns what the file holds.

    ``restart`` forgets an earlier export's checkpoint. ``say`` is told what a person should know,
    ``on_page`` how far it came; ``stopping`` is asked between pages (Stopped is raised then).
    InvalidQuery when the file belongs to another export, or is being written. After a VendorError,
    or a kill, the same call goes on; a file without a checkpoint is written anew.
    """
    refuse_irregular(target.path)
    asked = _asked(reader, query, target)
    reader.say = say
    with held(target.data) as file:
        found = None if restart else Checkpoint.load(target.checkpoint)
        found = _ours(target, found, asked)
        export = _Export(
            file,
            target=target,
            encoder=encoder_of(target.format, target.paths),
            asked=asked,
            say=say,
            on_page=on_page,
        )
        export.take_up(found)
        try:
            export.run(reader, query, stopping)
        except VendorError:
            if not export.progress.size:  # nothing to go on from
                target.checkpoint.unlink(missing_ok=True)
            raise
        return export.finish()


def _asked(reader: Reader, query: ExportQuery, target: Target) -> dict[str, Any]:
    """Return what identifies an export; the page size is not part of it."""
    parameters = {key: value for key, value in query.parameters.items() if key != "batch_size"}
    account = {"url": reader.reads.base_url, "account": reader.destination.account.public_id}
    form = {"format": target.format, "columns": list(target.paths)}
    return {**query.body, **parameters, **account, **form}


def _ours(target: Target, found: Checkpoint | None, asked: Mapping[str, Any]) -> Checkpoint | None:
    """Return the checkpoint if it belongs to this export; discard an empty one of another."""
    if found is None or found.query == asked:
        return found
    if not found.size:
        return None
    theirs = found.query
    raise InvalidQuery(
        f"{target.checkpoint} belongs to another export ({theirs.get('event_name')}, "
        f"{theirs.get('from')} to {theirs.get('to')}): finish that one, name another file, "
        "or begin this one with --restart"
    )


class _Export:
    """One file's export under way; ``at`` is what its checkpoint says."""

    def __init__(
        self,
        file: HeldFile,
        *,
        target: Target,
        encoder: Encoder,
        asked: Mapping[str, Any],
        say: Callable[[str], object],
        on_page: Callable[[Progress], object],
    ) -> None:
        self._file, self._target, self._encoder = file, target, encoder
        self._say, self._on_page = say, on_page
        self._nothing = Checkpoint(asked, None)
        self._at = self._nothing
        self._begun = False

    @property
    def progress(self) -> Progress:
        return Progress(self._at.records, self._at.size)

    def take_up(self, found: Checkpoint | None) -> None:
        """Go on from a checkpoint, if the file still holds what it tells of."""
        if found is None:
            return
        if not self._file.holds(found.size):
            self._say(f"{self._target.data} is not as its checkpoint says; {_AGAIN}")
            return
        self._file.cut(found.size)
        self._at, self._begun = found, True
        self._say(f"going on after {found.records} events, {found.size} bytes")
        self._on_page(self.progress)

    def run(self, reader: Reader, query: ExportQuery, stopping: Callable[[], bool]) -> None:
        """All pages that are still to come; begins again when the cursor is lost."""
        for _ in range(RESTARTS + 1):
            try:
                if not self._begun:
                    self._begin(start(reader, query))
                if self._at.cursor is not None:
                    self._read(reader, self._at.cursor, stopping)
            except CursorLost as error:
                lost = error
                self._say(
                    f"the vendor no longer knows the cursor after {self._at.records} events "
                    f"({error}); {_AGAIN}"
                )
                self._begun = False
            else:
                return
        raise VendorError(
            f"the export's cursor was lost {RESTARTS + 1} times ({lost}): ask for fewer days"
        )

    def _begin(self, cursor: str) -> None:
        """From the start. The checkpoint first: a file is cut only once it says so."""
        self._save(replace(self._nothing, cursor=cursor))
        self._begun = True
        self._file.cut(0)

    def _read(self, reader: Reader, cursor: str, stopping: Callable[[], bool]) -> None:
        trail = self._at.trail if self._at.trail.mark else None
        for page in pages(reader, cursor, trail):
            self._append(self._encoder.encode(page.records))
            self._save(
                replace(
                    self._at,
                    cursor=page.next_cursor,
                    size=self._file.size,
                    records=self._at.records + len(page.records),
                    trail=page.trail,
                )
            )
            self._on_page(self.progress)
            if page.next_cursor is not None and stopping():
                raise Stopped(f"stopped after {self._at.records} events; the same call goes on")

    def finish(self) -> Progress:
        """Nothing is to come: make Parquet of it if wished, and forget the checkpoint."""
        if not self._at.size:
            self._append(b"")
        target = self._target
        if target.format == "parquet":
            to_parquet(target.data, target.path)
        target.checkpoint.unlink(missing_ok=True)
        if target.data != target.path:
            target.data.unlink(missing_ok=True)
        sync_folder(target.path)
        return Progress(self._at.records, target.path.stat().st_size)

    def _append(self, content: bytes) -> None:
        """Put bytes on the disk, behind the header when they are the first."""
        self._file.append(content if self._file.size else self._encoder.header + content)

    def _save(self, checkpoint: Checkpoint) -> None:
        checkpoint.save(self._target.checkpoint)
        self._at = checkpoint
