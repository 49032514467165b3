"""The runtime of a worker process: made once, when it is first needed."""

from __future__ import annotations

import pytest

from worker.app.process import ProcessRuntime
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
