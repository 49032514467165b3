"""The connections that a producer keeps between its calls: whose answer comes, and what is left."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest
import redis

from worker import BufferUnavailable, Producer
from worker.connections.clients import bulk_client, producer_client
from worker.settings import Settings

ECHO = "return ARGV[1]"

# A number whose text is interrupted, as a signal that has just come does it.
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
    """What a signal's handler raises: a worker's soft time limit, or Ctrl-C."""


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
    """Makes a producer's client that may have so many connections."""
    made: list[redis.Redis] = []

    def make(kind: Callable[[str], redis.Redis], most: int = 100) -> redis.Redis:
        made.append(kind(f"{redis_url}?max_connections={most}"))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_the_answer_of_an_interrupted_call_is_nobody_elses(
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


def test_interrupted_calls_use_up_no_connections(
    client_of: Callable[..., redis.Redis], redis_client: redis.Redis
) -> None:
    """Wherever a call is interrupted, its connection can be had again."""
    sha = redis_client.script_load(ECHO)
    client = client_of(bulk_client, most=1)
    assert client.evalsha(sha, 0, "before") == b"before"
    for place in ("can_read", "send_command", "read_response"):
        with interrupted_at(place):
            client.evalsha(sha, 0, "interrupted")
        assert client.evalsha(sha, 0, place) == place.encode()


def test_an_interruption_does_not_end_the_process(redis_url: str) -> None:
    """Numbers are made into text where an interruption is an error, and no crash."""
    ran = subprocess.run(
        [sys.executable, "-c", NUMBERED, redis_url], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, "b'after'\n"), ran.stderr


def test_a_script_is_introduced_where_no_further_connection_may_be_made(
    client_of: Callable[..., redis.Redis], redis_client: redis.Redis
) -> None:
    """With one connection a producer enqueues, though Redis has forgotten its script."""
    producer = Producer(Settings.from_env({}), client_of(producer_client, most=1))
    for _ in range(2):
        redis_client.script_flush()
        assert producer.event("Viewed", {"n": 1}, identity="42", destination="clevertap")


def test_without_a_connection_nothing_was_sent(client_of: Callable[..., redis.Redis]) -> None:
    """More threads than connections: whoever finds none is told that the record is not there."""
    client = client_of(producer_client, most=1)
    producer = Producer(Settings.from_env({}), client)
    taken = client.connection_pool.get_connection()
    with pytest.raises(BufferUnavailable) as refused:
        producer.event("Viewed", {"n": 1}, identity="42", destination="clevertap")
    assert not refused.value.sent
    client.connection_pool.release(taken)
    assert producer.event("Viewed", {"n": 1}, identity="42", destination="clevertap")
