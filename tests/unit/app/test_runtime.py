"""A worker that is told to stop while it makes its parts."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from worker.app import tasks
from worker.app.shutdown import ShutdownDeadline


class _Parts:
    """Stands in for the parts of a worker: told to stop while they are being made."""

    def __init__(self, *_: object) -> None:
        self.stopping = False
        tasks._stop()

    def stop(self) -> None:
        self.stopping = True


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process whose parts are not made yet, and are interrupted when they are."""
    monkeypatch.setattr(tasks, "Runtime", _Parts)
    monkeypatch.setattr(tasks, "_stop_asked", threading.Event())
    monkeypatch.setattr(tasks, "ending", ShutdownDeadline(lambda: None))
    tasks._made.cache_clear()
    yield
    tasks._made.cache_clear()


@pytest.mark.timeout(10)
def test_a_stop_while_the_parts_are_made_is_neither_waited_for_nor_forgotten(
    interrupted: None,
) -> None:
    """A signal that arrives in the midst of `runtime` takes effect, and waits for nothing."""
    assert tasks.runtime().stopping
