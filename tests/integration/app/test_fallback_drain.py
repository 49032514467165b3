"""A worker that drains on its own: no beat ticks, or the broker accepts no messages."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import redis

from support.vendor import LoopbackVendor
from worker import Producer
from worker.app.runtime import Runtime
from worker.app.watchdog import drain_overdue
from worker.delivery.drain import Dispatch
from worker.settings.settings import Settings

AFTER_S = 2.0  # in which even a busy machine delivers two batches


def silent(*_: object) -> None:
    """Stand in for a broker that answers nothing until its caller gives up."""
    threading.Event().wait(AFTER_S * 1.1)
    raise TimeoutError


@pytest.fixture
def runtime(redis_client: redis.Redis, redis_url: str, vendor: LoopbackVendor) -> Iterator[Runtime]:
    """The runtime of a worker with a silent broker and two batches to deliver."""
    environ = {"REDIS_URL": redis_url, "INGEST_MAX_WAIT_S": "0", **vendor.environment}
    producer = Producer.from_env(environ)
    producer.event("Viewed", {"n": 1}, identity="ann")
    producer.profile({"n": 1}, identity="bob")
    producer.close()
    runtime = Runtime(Settings.from_env(environ), Dispatch(silent, silent))
    yield runtime
    runtime.close()


def test_fallback_drain_with_a_silent_broker_delivers_every_batch(
    runtime: Runtime, vendor: LoopbackVendor
) -> None:
    """However long the broker was waited for, all batches are delivered then, not just one."""
    drain_overdue(runtime, AFTER_S)
    assert vendor.taken == {"ann": 1, "bob": 1}


def test_fallback_drain_after_a_recent_tick_does_nothing(
    runtime: Runtime, vendor: LoopbackVendor
) -> None:
    """Whichever process ticked, the next tick does it."""
    runtime.destinations["clevertap"].drain.check()
    drain_overdue(runtime, after_s=600)
    assert vendor.taken == {}


def test_fallback_drain_after_a_broker_lost_messages_delivers_their_batches(
    runtime: Runtime, vendor: LoopbackVendor
) -> None:
    """A claimed batch does not wait for its lease if the broker crashed with its message."""
    buffer = runtime.destinations["clevertap"].buffer
    claims = [buffer.claim(begun=False), buffer.claim(begun=False)]
    assert None not in claims, "both batches were handed to the broker, and their messages are lost"
    drain_overdue(runtime, AFTER_S)
    assert vendor.taken == {"ann": 1, "bob": 1}
