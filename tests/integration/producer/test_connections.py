"""A producer's connections between its calls."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest
import redis

from support.polling import poll_until
from worker import AsyncProducer, BufferUnavailable, Producer
from worker.buffer import keys
from worker.connections.clients import (
    async_producer_client,
    bulk_client,
    producer_client,
    worker_client,
)
from worker.settings.settings import Settings

ECHO = "return ARGV[1]"

# A number with a text conversion that is interrupted, as by a signal.
NUMBERED = """
import sys
from worker.connections.clients import bulk_client
class Number(int):
    def __str__(self): raise KeyboardInterrupt
client = bulk_client(sys.argv[1])
try:
    client.evalsha("0" * 40, Number(0))
except KeyboardInterrupt:
    print(client.eval("return ARGV[1]", 0, "after"))
"""


class Interruption(BaseException):
    """The exception of a signal handler: a worker's soft time limit, or Ctrl-C."""


@contextmanager
def interrupted_at(function: str) -> Iterator[None]:
    """Interrupt this thread when it enters a function of that name, as a signal may."""

    def look(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_name == function:
            raise Interruption

    before = sys.gettrace()
    sys.settrace(look)
    try:
        with pytest.raises(Interruption):
            yield
    finally:
        sys.settrace(before)


@pytest.fixture
def client_of(redis_url: str) -> Iterator[Callable[..., redis.Redis]]:
    """Makes a producer's client that may have this many connections."""
    made: list[redis.Redis] = []

    def make(kind: Callable[[str], redis.Redis], most: int = 100) -> redis.Redis:
        made.append(kind(f"{redis_url}?max_connections={most}"))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_interrupted_call_leaves_no_answer_for_the_next(
    client_of: Callable[..., redis.Redis], redis_client: redis.Redis
) -> None:
    """A call that was sent and not read leaves nothing that the next one takes for its own."""
    sha = redis_client.script_load(ECHO)
    client = client_of(bulk_client)
    assert client.evalsha(sha, 0, "before") == b"before"
    redis_client.client_pause(300)  # so that the answer comes late
    with interrupted_at("read_response"):
        client.evalsha(sha, 0, "interrupted")
    assert client.evalsha(sha, 0, "after") == b"after"


def test_interrupted_calls_free_their_connections(
    client_of: Callable[..., redis.Redis], redis_client: redis.Redis
) -> None:
    """Wherever a call is interrupted, its connection can be used again."""
    sha = redis_client.script_load(ECHO)
    client = client_of(bulk_client, most=1)
    assert client.evalsha(sha, 0, "before") == b"before"
    for place in ("can_read", "send_command", "read_response"):
        with interrupted_at(place):
            client.evalsha(sha, 0, "interrupted")
        assert client.evalsha(sha, 0, place) == place.encode()


def test_interruption_while_encoding_a_number_raises(redis_url: str) -> None:
    """Numbers are encoded where an interruption is an exception, not a crash."""
    ran = subprocess.run(
        [sys.executable, "-c", NUMBERED, redis_url], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, "b'after'\n"), ran.stderr


def test_script_is_loaded_over_the_only_connection(
    client_of: Callable[..., redis.Redis], redis_client: redis.Redis
) -> None:
    """With one connection a producer enqueues, though Redis has forgotten its script."""
    producer = Producer(Settings.from_env({}), client_of(producer_client, most=1))
    for _ in range(2):
        redis_client.script_flush()
        assert producer.event("Viewed", {"n": 1}, identity="42", destination="clevertap")


def test_exhausted_connections_raise_unavailable_and_not_sent(
    client_of: Callable[..., redis.Redis],
) -> None:
    """More threads than connections: a thread without one gets an error that says not sent."""
    client = client_of(producer_client, most=1)
    producer = Producer(Settings.from_env({}), client)
    taken = client.connection_pool.get_connection()
    with pytest.raises(BufferUnavailable) as raised:
        producer.event("Viewed", {"n": 1}, identity="42", destination="clevertap")
    assert not raised.value.sent
    client.connection_pool.release(taken)
    assert producer.event("Viewed", {"n": 1}, identity="42", destination="clevertap")


@pytest.mark.parametrize("kind", [bulk_client, worker_client])
def test_every_thread_can_wait_for_redis_at_once(
    kind: Callable[[str], redis.Redis], redis_url: str, redis_client: redis.Redis
) -> None:
    """While Redis is paused all threads wait, however many there are, and none fails."""
    threads = 130
    with kind(redis_url) as client, ThreadPoolExecutor(threads) as pool:
        redis_client.client_pause(60_000, all=False)  # what may write waits
        calls = [pool.submit(client.eval, ECHO, 0, str(at)) for at in range(threads)]
        poll_until(lambda: len(redis_client.client_list()) > threads, what="all wait at once")
        redis_client.client_unpause()
        assert [call.result() for call in calls] == [b"%d" % at for at in range(threads)]


def test_more_tasks_than_connections_take_turns(redis_url: str, redis_client: redis.Redis) -> None:
    """A burst of calls in one event loop is enqueued completely."""

    async def burst() -> set[str]:
        client = async_producer_client(redis_url, timeout_s=10)
        producer = AsyncProducer(Settings.from_env({}), client, patience_s=30)
        calls = (producer.event("Viewed", {"n": at}, identity="42") for at in range(250))
        try:
            return set(await asyncio.gather(*calls))
        finally:
            await producer.close()

    assert len(asyncio.run(burst())) == 250
    assert redis_client.llen(keys.pending("clevertap", "event")) == 250


def test_task_without_a_turn_raises_unavailable_and_not_sent(
    redis_url: str, redis_client: redis.Redis
) -> None:
    """It waits no longer than its patience, sends nothing, and the next gets its turn."""

    async def calls() -> bool:
        client = async_producer_client(f"{redis_url}?max_connections=1", timeout_s=10)
        producer = AsyncProducer(Settings.from_env({}), client, patience_s=0.01)
        first = asyncio.create_task(producer.event("Viewed", {"n": 1}, identity="42"))
        await asyncio.sleep(0)  # it has the turn
        with pytest.raises(BufferUnavailable) as raised:
            await producer.event("Viewed", {"n": 2}, identity="42")
        redis_client.client_unpause()
        await first
        await producer.event("Viewed", {"n": 3}, identity="42")
        await producer.close()
        return raised.value.sent

    redis_client.client_pause(60_000, all=False)
    assert asyncio.run(calls()) is False
    assert redis_client.llen(keys.pending("clevertap", "event")) == 2
