"""The checkpoint of an export."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from worker.errors import InvalidQuery
from worker.readback.checkpoint import Checkpoint
from worker.readback.export import CursorLoop


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
