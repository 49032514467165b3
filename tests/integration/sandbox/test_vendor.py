"""A worker that drains by itself, because nobody else does or the broker takes no messages."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import cache

import pytest
import redis

from support.vendor import LoopbackVendor
from worker import Producer
from worker.app import tasks
from worker.app.runtime import DestinationRuntime, Runtime
from worker.delivery.drain import Dispatch
from worker.settings.settings import Settings

PATIENCE_S = 4.0  # in which even a busy machine delivers two batches


def _silent(*_: object) -> None:
    """A broker that answers nothing until its caller gives up."""
    threading.Event().wait(PATIENCE_S * 1.1)
    raise TimeoutError


@pytest.fixture
def line(
    redis_client: redis.Redis,
    redis_url: str,
    vendor: LoopbackVendor,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[DestinationRuntime]:
    """The parts of a worker whose broker is silent, with two batches to deliver."""
    environ = {"REDIS_URL": redis_url, "INGEST_MAX_WAIT_S": "0", **vendor.environment}
    producer = Producer.from_env(environ)
    producer.event("Viewed", {"n": 1}, identity="ann")
    producer.profile({"n": 1}, identity="bob")
    producer.close()
    made = Runtime(Settings.from_env(environ), Dispatch(_silent, _silent))
    monkeypatch.setattr(tasks, "_made", cache(lambda: made))
    monkeypatch.setattr(tasks, "STAND_IN_AFTER_S", PATIENCE_S)
    yield made.lines["clevertap"]
    made.close()


def test_a_silent_broker_takes_no_time_from_the_deliveries(
    line: DestinationRuntime, vendor: LoopbackVendor
) -> None:
    """However long it was waited for, batch after batch is delivered then, and not one alone."""
    tasks._stand_in_for(line)
    assert vendor.taken == {"ann": 1, "bob": 1}
