"""Exports to files, from a sandbox without a server: stopped, resumed, restarted, refused."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

import orjson
import pytest

from support.reading import DAY, NAME, LocalSandbox, ScriptedVendor, fill, numbers, reply
from worker.errors import CredentialsRefused, InvalidQuery, Stopped
from worker.readback.client import Reader
from worker.readback.export import CursorLoop
from worker.readback.export_file import Checkpoint, ExportProgress, ExportTarget, export_to_file
from worker.readback.queries import ExportQuery
from worker.sandbox.settings import SandboxSettings


@pytest.fixture
def sandbox() -> LocalSandbox:
    """A sandbox of the test's own."""
    return LocalSandbox(SandboxSettings(busy_polls=2))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where to export to."""
    return tmp_path / "out.jsonl"


def query(**changed: Any) -> ExportQuery:
    """Today's events."""
    return ExportQuery(NAME, int(DAY), int(DAY), **changed)


def export(reader: Reader, out: Path, size: int = 1000, **given: Any) -> ExportProgress:
    """Export to a file."""
    return export_to_file(reader, query(batch_size=size), ExportTarget(out), **given)


def stop_after_a_page(sandbox: LocalSandbox, out: Path, size: int) -> None:
    """Let the vendor have this many events, and export the first page of them."""
    fill(sandbox, size)
    with pytest.raises(Stopped, match="after 1000 events"):
        export(sandbox.reader(), out, stopping=lambda: True)


def checkpoint(out: Path) -> dict[str, Any]:
    """What stands in the checkpoint."""
    found: dict[str, Any] = orjson.loads(out.with_name(out.name + ".checkpoint").read_bytes())
    return found


def files(folder: Path) -> list[str]:
    """What lies there."""
    return sorted(each.name for each in folder.iterdir())


@pytest.mark.parametrize(
    "harm",
    [
        {"cursor": 5},
        {"cursor": "ä b"},
        {"size": "1"},
        {"size": -1},
        {"records": None},
        {"query": []},
        {"trail": 3},
        {"trail": {"mark": 1}},
        {"more": 1},
    ],
)
def test_export_damaged_checkpoint_is_refused(
    sandbox: LocalSandbox, out: Path, harm: dict[str, Any]
) -> None:
    """The error says what to do, and the file is left alone."""
    stop_after_a_page(sandbox, out, 2000)
    before = out.read_bytes()
    out.with_name(out.name + ".checkpoint").write_bytes(orjson.dumps(checkpoint(out) | harm))
    with pytest.raises(InvalidQuery, match="not a valid checkpoint"):
        export(sandbox.reader(), out)
    assert out.read_bytes() == before


def test_export_stopped_between_pages_resumes(sandbox: LocalSandbox, out: Path) -> None:
    """The checkpoint matches the file, and the second call requests only the rest."""
    stop_after_a_page(sandbox, out, 5000)
    assert checkpoint(out)["size"] == out.stat().st_size
    said: list[str] = []
    assert export(sandbox.reader(), out, say=said.append).records == 5000
    assert numbers(out.read_bytes()) == list(range(5000))
    assert said == [f"resuming after 1000 events, {said[0].split()[-2]} bytes"]
    assert files(out.parent) == ["out.jsonl"]


def test_export_resumed_cuts_off_bytes_after_the_checkpoint(
    sandbox: LocalSandbox, out: Path
) -> None:
    """Bytes that a dying process left come once, not twice."""
    stop_after_a_page(sandbox, out, 3000)
    with out.open("ab") as file:
        file.write(b'{"event_props":{"n":1000}}\n{"event_pr')
    export(sandbox.reader(), out)
    assert numbers(out.read_bytes()) == list(range(3000))


@pytest.mark.parametrize("harm", ["shorter", "gone", "other"])
def test_export_file_unlike_its_checkpoint_restarts(
    sandbox: LocalSandbox, out: Path, harm: str
) -> None:
    """A file that was cut, removed or changed is not appended to."""
    stop_after_a_page(sandbox, out, 3000)
    content = out.read_bytes()
    if harm == "gone":
        out.unlink()
    else:
        out.write_bytes(content[:-10] if harm == "shorter" else content[:-1] + b"x")
    said: list[str] = []
    export(sandbox.reader(), out, say=said.append)
    assert "does not match its checkpoint; restarting" in said[0]
    assert numbers(out.read_bytes()) == list(range(3000))


def test_export_resumed_with_an_expired_cursor_restarts(sandbox: LocalSandbox, out: Path) -> None:
    """The file is overwritten without duplicates, and a message says so."""
    stop_after_a_page(sandbox, out, 3000)
    sandbox.state.forget_cursors()
    said: list[str] = []
    export(sandbox.reader(), out, say=said.append)
    assert "no longer knows the cursor after 1000 events" in said[1]
    assert "restarting from the beginning" in said[1]
    assert numbers(out.read_bytes()) == list(range(3000))


def test_export_to_another_exports_file_is_refused(sandbox: LocalSandbox, out: Path) -> None:
    """The checkpoint of another query is refused; a larger page is the same query."""
    stop_after_a_page(sandbox, out, 3000)
    with pytest.raises(InvalidQuery, match=f"another export \\({NAME}, {DAY} to {DAY}\\)"):
        export_to_file(sandbox.reader(), query(app=True), ExportTarget(out))
    assert export(sandbox.reader(), out, size=500).records == 3000


def test_export_restart_discards_the_checkpoint(sandbox: LocalSandbox, out: Path) -> None:
    """With --restart the file starts again although it could resume."""
    stop_after_a_page(sandbox, out, 2000)
    said: list[str] = []
    export(sandbox.reader(), out, restart=True, say=said.append)
    assert said == []
    assert numbers(out.read_bytes()) == list(range(2000))


def test_export_that_cannot_start_keeps_a_finished_file(sandbox: LocalSandbox, out: Path) -> None:
    """A failed start costs nothing of the file."""
    fill(sandbox, 10)
    export(sandbox.reader(), out)
    refusing = ScriptedVendor(
        reply({"status": "fail", "error": "Passcode Invalid", "code": 401}, 401)
    )
    with pytest.raises(CredentialsRefused):
        export(refusing.reader(), out)
    assert numbers(out.read_bytes()) == list(range(10))


def test_export_to_a_locked_file_is_refused(sandbox: LocalSandbox, out: Path) -> None:
    """A second export is refused while the first one writes."""
    with out.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(InvalidQuery, match="being written by another export"):
            export(sandbox.reader(), out)


@pytest.mark.parametrize("made", ["fifo", "device", "folder"])
def test_export_to_an_irregular_file_is_refused(tmp_path: Path, made: str) -> None:
    """A pipe, a device or a folder is refused before any request, without traces."""
    out = tmp_path / "out"
    if made == "fifo":
        os.mkfifo(out)
    elif made == "folder":
        out.mkdir()
    else:
        out.symlink_to("/dev/null")
    vendor = ScriptedVendor()
    for form in ("jsonl", "parquet"):
        with pytest.raises(InvalidQuery, match=r"regular file|folder"):
            export_to_file(vendor.reader(), query(), ExportTarget(out, form))
    assert files(tmp_path) == ["out"]
    assert not vendor.requests


def test_export_to_parquet_resumes(sandbox: LocalSandbox, tmp_path: Path) -> None:
    """Parquet is converted at the end from lines collected with a checkpoint."""
    parquet = pytest.importorskip("pyarrow.parquet")
    fill(sandbox, 2000)
    target = ExportTarget(tmp_path / "out.parquet", "parquet")
    reader = sandbox.reader()
    with pytest.raises(Stopped):
        export_to_file(reader, query(batch_size=1000), target, stopping=lambda: True)
    assert files(tmp_path) == ["out.parquet.checkpoint", "out.parquet.part"]
    export_to_file(reader, query(), target)
    assert files(tmp_path) == ["out.parquet"]
    assert parquet.read_table(target.path).num_rows == 2000


def test_export_without_events_writes_an_empty_file(sandbox: LocalSandbox, out: Path) -> None:
    """A response without records and cursor is the end."""
    assert export(sandbox.reader(), out) == ExportProgress(0, 0)
    assert out.read_bytes() == b""


def test_checkpoint_load_returns_what_was_saved(tmp_path: Path) -> None:
    """Without a file there is no checkpoint, and another file is refused."""
    path = tmp_path / "x.checkpoint"
    assert Checkpoint.load(path) is None
    saved = Checkpoint({"event_name": "a"}, "cur%2Fsor", 10, 2)
    saved.save(path)
    assert Checkpoint.load(path) == saved
    path.write_text("{}")
    with pytest.raises(InvalidQuery, match="not a valid checkpoint"):
        Checkpoint.load(path)


def test_checkpoint_file_keeps_its_format(tmp_path: Path) -> None:
    """An export that an earlier version began can be resumed: its keys are the same."""
    path = tmp_path / "x.checkpoint"
    stored = {
        "query": {"event_name": "a"},
        "cursor": "cur%2Fsor",
        "size": 10,
        "records": 2,
        "trail": {"mark": "m", "steps": 1, "span": 2},
    }
    path.write_text(json.dumps(stored))
    found = Checkpoint.load(path)
    assert found == Checkpoint({"event_name": "a"}, "cur%2Fsor", 10, 2, CursorLoop("m", 1, 2))
    found.save(path)
    assert json.loads(path.read_bytes()) == stored
