"""When a worker is ended because it does nothing, and when it stands in for a beat."""

from __future__ import annotations

import threading

import pytest
import redis
from celery import Celery
from kombu.exceptions import OperationalError

from support.clocks import Clock
from support.polling import poll_until
from support.ports import find_free_port
from worker.app import watchdog as module
from worker.app.watchdog import EXIT_STUCK, STUCK_AFTER_S, Watchdog


class Watched:
    """A watchdog that notes how it would have ended the process."""

    def __init__(self, url: str, room: int = 1) -> None:
        app = Celery("watched", broker=url, set_as_current=False)
        app.conf.update(task_default_queue="ingest", worker_concurrency=room)
        self.clock, self.ended = Clock(), list[int]()
        self.dog = Watchdog(app, clock=self.clock, end=self.ended.append)

    def look_after(self, seconds: float) -> list[int]:
        """Let so much time pass, and look."""
        self.clock.now += seconds
        self.dog.look()
        return self.ended


def queue_a_message(client: redis.Redis) -> None:
    """Something that a worker should take."""
    client.sadd("_kombu.binding.ingest", "ingest\x06\x16\x06\x16ingest")
    client.lpush("ingest", "{}")


def test_messages_that_nobody_takes_end_the_worker(
    redis_url: str, redis_client: redis.Redis
) -> None:
    """Idle, with messages waiting, for longer than anything explains: ended with EX_SOFTWARE."""
    watched = Watched(redis_url)
    queue_a_message(redis_client)
    assert watched.look_after(STUCK_AFTER_S - 1) == []
    assert watched.look_after(2) == [EXIT_STUCK]


def test_an_empty_queue_is_no_reason(redis_url: str, redis_client: redis.Redis) -> None:
    """A worker that has nothing to do may do nothing for ever."""
    watched = Watched(redis_url)
    assert watched.look_after(10 * STUCK_AFTER_S) == []
    queue_a_message(redis_client)
    assert watched.look_after(1) == []


def test_progress_is_no_reason(redis_url: str, redis_client: redis.Redis) -> None:
    """However long the queue, a worker that takes from it is not ended."""
    watched = Watched(redis_url)
    queue_a_message(redis_client)
    for _ in range(5):
        assert watched.look_after(STUCK_AFTER_S - 1) == []
        watched.dog.progress()


def test_work_on_all_threads_is_no_reason(redis_url: str, redis_client: redis.Redis) -> None:
    """Messages wait because every thread is at work."""
    watched = Watched(redis_url)
    queue_a_message(redis_client)
    watched.dog._begun()
    assert watched.look_after(2 * STUCK_AFTER_S) == []
    watched.dog._ended()
    assert watched.look_after(STUCK_AFTER_S + 1) == [EXIT_STUCK]


def test_a_broker_that_is_away_is_no_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody could work, so nobody is stuck: time counts from when the broker is back."""
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.01)
    watched = Watched(f"redis://127.0.0.1:{find_free_port()}/0")
    watched.dog.start()
    try:
        watched.clock.now = 10 * STUCK_AFTER_S
        poll_until(lambda: watched.dog._last_progress == watched.clock.now, what="it has looked")
    finally:
        watched.dog.stop()
    assert watched.ended == []


def test_it_stands_in_whatever_the_last_time_brought(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it was given is called again and again, one thread at a time, though it fails."""
    monkeypatch.setattr(module, "STAND_IN_EVERY_S", 0.01)
    called = threading.Semaphore(0)

    def stand_in() -> None:
        called.release()
        raise RuntimeError

    dog = Watchdog(Celery("watched", set_as_current=False), stand_in=stand_in)
    before = threading.active_count()
    dog.start()
    dog.start()  # as Celery does after each reconnection
    try:
        assert threading.active_count() <= before + 2
        assert all(called.acquire(timeout=60) for _ in range(3))
    finally:
        dog.stop()


@pytest.mark.parametrize(
    ("error", "told"),
    [(redis.exceptions.ConnectionError(), 0), (OperationalError(), 0), (FileNotFoundError(), 3)],
    ids=lambda value: type(value).__name__,
)
def test_it_tells_mistakes_from_a_redis_that_is_away(
    error: Exception, told: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in that fails because Redis is away passes; what else it raises is told, counted."""
    monkeypatch.setattr(module, "STAND_IN_EVERY_S", 0.01)
    called, noted = threading.Semaphore(0), list[int]()

    def stand_in() -> None:
        called.release()
        raise error

    def note(_: str, *, failures: int) -> None:
        noted.append(failures)

    monkeypatch.setattr(module.log, "exception", note)
    dog = Watchdog(Celery("watched", set_as_current=False), stand_in=stand_in)
    dog.start()
    try:
        assert all(called.acquire(timeout=60) for _ in range(4))
    finally:
        dog.stop()
    assert noted[:told] == list(range(1, told + 1))
    assert bool(noted) == bool(told)
