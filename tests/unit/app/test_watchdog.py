"""When the watchdog ends a worker, touches its heartbeat file, and runs the fallback drain."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
import redis
from celery import Celery
from kombu.exceptions import OperationalError
from structlog.testing import capture_logs

from support.clocks import Clock
from support.polling import poll_until
from support.ports import find_free_port
from worker.app.watchdog import EXIT_STUCK, STUCK_AFTER_S, Watchdog


class Watched:
    """A watchdog of a worker with one thread, and the exit codes it would have ended it with."""

    def __init__(self, broker: str = "memory://") -> None:
        self.app = Celery("watched", broker=broker, set_as_current=False)
        self.queue = uuid4().hex  # brokers in memory are one per process
        self.app.conf.update(task_default_queue=self.queue, worker_concurrency=1)
        self.clock, self.ended = Clock(), list[int]()
        self.dog = Watchdog(self.app, clock=self.clock, end=self.ended.append)

    def queue_a_message(self) -> None:
        """Send something that a worker should take."""
        with self.app.connection_for_write() as connection:
            connection.SimpleQueue(self.queue).put({})

    def check_after(self, seconds: float) -> list[int]:
        """Let time pass, and check."""
        self.clock.now += seconds
        self.dog.check()
        return self.ended


@contextmanager
def started(dog: Watchdog) -> Iterator[Watchdog]:
    """Run a watchdog's threads."""
    dog.start()
    try:
        yield dog
    finally:
        dog.stop()


def test_check_with_messages_waiting_too_long_ends_the_worker() -> None:
    """Idle with messages waiting for longer than anything explains: ended with EX_SOFTWARE."""
    watched = Watched()
    watched.queue_a_message()
    assert watched.check_after(STUCK_AFTER_S - 1) == []
    assert watched.check_after(2) == [EXIT_STUCK]


def test_check_with_an_empty_queue_lets_the_worker_idle() -> None:
    """A worker without work may idle for ever; time counts from when a message came."""
    watched = Watched()
    assert watched.check_after(10 * STUCK_AFTER_S) == []
    watched.queue_a_message()
    assert watched.check_after(1) == []


def test_check_after_progress_lets_the_worker_live() -> None:
    """However long the queue, a worker that takes from it is not ended."""
    watched = Watched()
    watched.queue_a_message()
    for _ in range(5):
        assert watched.check_after(STUCK_AFTER_S - 1) == []
        watched.dog.progress()


def test_check_with_all_threads_busy_lets_the_worker_live() -> None:
    """Messages wait because every thread is working."""
    watched = Watched()
    watched.queue_a_message()
    watched.dog.task_began()
    assert watched.check_after(2 * STUCK_AFTER_S) == []
    watched.dog.task_ended()
    assert watched.check_after(STUCK_AFTER_S + 1) == [EXIT_STUCK]


def test_check_without_a_broker_lets_the_worker_live() -> None:
    """No worker could work, so none is stuck: time counts from when the broker is back."""
    watched = Watched(f"redis://127.0.0.1:{find_free_port()}/0")
    assert watched.check_after(10 * STUCK_AFTER_S) == []
    assert watched.dog.idle_s == 0


def test_watchdog_started_again_runs_the_same_two_threads() -> None:
    """Celery starts it after each reconnection."""
    before = threading.active_count()
    with started(Watched().dog) as dog:
        dog.start()
        assert threading.active_count() <= before + 2


@pytest.mark.parametrize(
    ("error", "logged"),
    [(redis.exceptions.ConnectionError(), 0), (OperationalError(), 0), (FileNotFoundError(), 3)],
    ids=lambda value: type(value).__name__,
)
def test_fallback_drain_that_fails_is_called_again(error: Exception, logged: int) -> None:
    """An unavailable Redis passes; any other error is logged, and counted."""
    called = threading.Semaphore(0)

    def fail() -> None:
        called.release()
        raise error

    app = Celery("watched", set_as_current=False)
    with (
        capture_logs() as lines,
        started(Watchdog(app, fallback_drain=fail, fallback_every_s=0.01)),
    ):
        assert all(called.acquire(timeout=60) for _ in range(4))
    failures = [line["failures"] for line in lines if line["event"] == "the fallback drain failed"]
    assert failures[:logged] == list(range(1, logged + 1))
    assert bool(failures) == bool(logged)


@pytest.fixture
def heartbeat(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Watchdog]:
    """Make a watchdog that checks all the time and touches a file."""

    def make(path: Path) -> Watchdog:
        monkeypatch.setenv("INGEST_HEARTBEAT_PATH", str(path))
        return Watchdog(Watched().app, check_every_s=0.01)

    return make


def test_watchdog_touches_its_heartbeat_file_repeatedly(
    heartbeat: Callable[[Path], Watchdog], tmp_path: Path
) -> None:
    """The file is there as soon as the worker is ready, and grows no older than a few seconds."""
    path = tmp_path / "heartbeat"
    with started(heartbeat(path)):
        poll_until(path.exists, what="the first heartbeat")
        os.utime(path, (1, 1))
        poll_until(lambda: path.stat().st_mtime > 1, what="the next one")


def test_watchdog_without_a_writable_heartbeat_file_goes_on(
    heartbeat: Callable[[Path], Watchdog], tmp_path: Path
) -> None:
    """A wrong path is the probe's to find; the worker goes on, and the log has the reason."""
    with capture_logs() as lines, started(heartbeat(tmp_path / "missing" / "heartbeat")):
        poll_until(lambda: len(lines) > 2, what="it goes on")
    assert {line["event"] for line in lines} == {"could not write the heartbeat file"}
