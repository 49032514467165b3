"""The file that a living worker touches."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

from support.polling import poll_until
from worker.app import watchdog as module
from worker.app.watchdog import Watchdog


@pytest.fixture
def watchdog() -> Iterator[Watchdog]:
    """A watchdog of an application whose broker is in memory."""
    made = Watchdog(Celery("heartbeat", broker="memory://"))
    yield made
    made.stop()


def test_a_watchdog_touches_its_file_again_and_again(
    watchdog: Watchdog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is there as soon as the worker is ready, and grows no older than a few seconds."""
    path = tmp_path / "heartbeat"
    monkeypatch.setenv("INGEST_HEARTBEAT_PATH", str(path))
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.05)
    watchdog.start()
    poll_until(path.exists, what="the first heartbeat")
    os.utime(path, (1, 1))
    poll_until(lambda: path.stat().st_mtime > 1, what="the next one")


def test_a_file_that_cannot_be_written_costs_the_worker_nothing(
    watchdog: Watchdog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong path is the probe's to find; the watchdog goes on looking."""
    monkeypatch.setenv("INGEST_HEARTBEAT_PATH", str(tmp_path / "missing" / "heartbeat"))
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.05)
    looked: list[bool] = []
    monkeypatch.setattr(watchdog, "look", lambda: looked.append(True))
    watchdog.start()
    poll_until(lambda: len(looked) > 2, what="it looks")
