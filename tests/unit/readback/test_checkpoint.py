"""The checkpoint of an export."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.errors import InvalidQuery
from worker.readback.checkpoint import Checkpoint


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
