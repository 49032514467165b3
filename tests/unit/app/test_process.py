"""The runtime of a worker process: made once, when it is first needed."""

from __future__ import annotations

import threading

import pytest

from support.polling import poll_until
from worker.app.process import ProcessRuntime, ShutdownDeadline
from worker.app.runtime import Runtime
from worker.delivery.drain import Dispatch
from worker.settings.settings import Settings

SETTINGS = Settings.from_env({"REDIS_URL": "redis://127.0.0.1:1/0"})  # no destination is enabled


def make() -> Runtime:
    """Make a runtime that asks nothing of Redis."""
    return Runtime(SETTINGS, Dispatch(lambda *_: None, lambda *_: None))


def test_process_runtime_called_twice_is_made_once() -> None:
    """Every task gets the same runtime, and none is made before the first."""
    runtime = ProcessRuntime(make)
    assert runtime.made is None
    assert runtime() is runtime() is runtime.made


def test_process_runtime_stopped_before_it_is_made_makes_nothing() -> None:
    """A worker that stops without having worked asks nothing of a Redis that may be away."""
    runtime = ProcessRuntime(make)
    runtime.stop()
    runtime.abandon()
    assert runtime.made is None


@pytest.mark.timeout(10)
def test_process_runtime_stopped_while_it_is_made_is_stopping() -> None:
    """A signal that arrives in the middle of making it takes effect, and waits for no lock."""

    def interrupted() -> Runtime:
        runtime.stop()
        return make()

    runtime = ProcessRuntime(interrupted)
    assert runtime().stopping


def test_shutdown_deadline_once_begun_closes_and_ends_the_process() -> None:
    """Nothing happens before `begin`; after it, connections are closed first, and the code is 0."""
    seen: list[object] = []
    deadline = ShutdownDeadline(lambda: seen.append("closed"), within_s=0.1, end=seen.append)
    deadline.start()
    threading.Event().wait(0.2)
    assert seen == []
    deadline.begin()
    poll_until(lambda: len(seen) == 2, what="it is over")
    assert seen == ["closed", 0]


def test_shutdown_deadline_with_a_close_that_hangs_ends_the_process() -> None:
    """What cannot be closed in time is left open."""
    seen: list[object] = []
    deadline = ShutdownDeadline(
        threading.Event().wait, within_s=0, close_within_s=0.1, end=seen.append
    )
    deadline.start()
    deadline.begin()
    poll_until(lambda: seen == [0], what="it is over")


def test_shutdown_deadline_with_a_close_that_fails_ends_the_process() -> None:
    """A failure to close is no reason to stay."""
    seen: list[object] = []

    def fail() -> None:
        raise OSError("no")

    deadline = ShutdownDeadline(fail, within_s=0, end=seen.append)
    deadline.start()
    deadline.begin()
    poll_until(lambda: seen == [0], what="it is over")
