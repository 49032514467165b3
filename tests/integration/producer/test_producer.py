"""The producers, with a real Redis: what a call returns is what is in the buffer."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
import redis

from support.ports import find_free_port
from worker import AsyncProducer, BufferFull, BufferUnavailable, InvalidRecord, Producer
from worker.buffer import keys
from worker.buffer.buffer import Buffer
from worker.buffer.records import StoredRecord, accepted_at_ms, unpack
from worker.connections.clients import WORKER_TIMEOUT_S
from worker.connections.embedded.server import EmbeddedRedis
from worker.settings.settings import Settings

VIEWED = {"identity": "42", "type": "event", "evtName": "Viewed", "evtData": {"n": 1}}
NAMED = {"identity": "42", "type": "profile", "profileData": {"Name": "Jack"}}


@pytest.fixture
def producer(redis_url: str) -> Iterator[Producer]:
    """A producer as a web app has one: it knows REDIS_URL and nothing else."""
    made = Producer.from_env({"REDIS_URL": redis_url})
    yield made
    made.close()


def buffered(client: redis.Redis, kind: str = "event", partition: int = 0) -> list[StoredRecord]:
    """What waits in one partition."""
    stored: Any = client.lrange(keys.pending("clevertap", kind, partition), 0, -1)
    return [unpack(each) for each in stored]


def accepted(redis_url: str) -> dict[str, int]:
    """The accepted totals, after checking that the places add up."""
    settings = Settings.from_env({"REDIS_URL": redis_url}).destination("clevertap")
    with redis.Redis.from_url(redis_url) as client:
        kinds = Buffer(client, settings).status().kinds
    assert all(places.adds_up for places in kinds.values())
    return {name: places.totals["accepted"] for name, places in kinds.items()}


def test_event_is_stored_under_the_returned_id_with_its_time(
    producer: Producer, redis_client: redis.Redis
) -> None:
    """The returned id is the stored one and carries the time, and `ts` is set."""
    before = time.time()
    record_id = producer.event("Product viewed", {"Price": 59.99}, identity="42")
    (stored,) = buffered(redis_client)
    assert stored.id == record_id.replace("-", "")
    assert before * 1000 - 1 <= accepted_at_ms(record_id) <= time.time() * 1000
    body = orjson.loads(stored.body)
    assert int(before) <= body.pop("ts") <= time.time()
    assert body == {
        "identity": "42",
        "type": "event",
        "evtName": "Product viewed",
        "evtData": {"Price": 59.99},
    }


def test_event_with_a_ts_keeps_it(producer: Producer, redis_client: redis.Redis) -> None:
    """It may be epoch seconds or a datetime; the day that deliveries are counted by follows it."""
    producer.event("A", ts=1468308340, identity="1")
    producer.event("A", ts=datetime(2016, 7, 12, 7, 25, 40, tzinfo=UTC), identity="1")
    assert [orjson.loads(each.body)["ts"] for each in buffered(redis_client)] == [1468308340] * 2
    assert {each.day for each in buffered(redis_client)} == {"20160712"}


def test_profiles_of_one_identity_share_a_partition(
    producer: Producer, redis_client: redis.Redis
) -> None:
    """One person's updates are in one list, in order; many persons use all lists."""
    for number in range(20):
        producer.profile({"n": number}, identity="the same")
    sizes = [len(buffered(redis_client, "profile", at)) for at in range(8)]
    assert sorted(sizes) == [0] * 7 + [20]
    numbers = [
        orjson.loads(each.body) for each in buffered(redis_client, "profile", sizes.index(20))
    ]
    assert [each["profileData"]["n"] for each in numbers] == list(range(20))
    producer.send_many(NAMED | {"identity": str(number)} for number in range(400))
    assert all(buffered(redis_client, "profile", at) for at in range(8))


def test_send_many_with_invalid_records_accepts_the_others_in_order(
    producer: Producer, redis_url: str
) -> None:
    """Each rejection has its position; the ids of the others are in the order of the records."""
    records: list[dict[str, Any]] = [VIEWED, NAMED, {"type": "event"}, VIEWED, {}, NAMED] * 500
    result = producer.send_many(records)
    assert (result.accepted, result.rejected) == (2000, 1000)
    assert [each.position for each in result.refusals] == [
        at for at, record in enumerate(records) if record not in (VIEWED, NAMED)
    ]
    assert "identity" in str(result.refusals[0].error)
    assert list(result.ids) == sorted(result.ids)
    assert accepted(redis_url) == {"event": 1000, "profile": 1000, "token": 0}


def test_event_breaking_a_rule_raises_and_writes_nothing(
    producer: Producer, redis_client: redis.Redis
) -> None:
    """The error names field and rule, and nothing was written to Redis."""
    with pytest.raises(InvalidRecord) as raised:
        producer.event("", {"Price": 1}, identity="42")
    assert raised.value.code == 509
    assert list(raised.value.errors) == ["evtName"]
    assert redis_client.dbsize() == 0


def test_send_many_beyond_max_buffered_raises_and_accepts_whole_calls_only(redis_url: str) -> None:
    """At `max_buffered` a call raises BufferFull, and none of its records is accepted."""
    producer = Producer.from_env({"REDIS_URL": redis_url, "INGEST_MAX_BUFFERED": "1500"})
    with pytest.raises(BufferFull, match=r"clevertap: .*1500 records") as full:
        producer.send_many([VIEWED] * 2000)
    assert len(full.value.accepted) == 1000
    assert accepted(redis_url)["event"] == 1000
    producer.send_many([VIEWED] * 500)
    with pytest.raises(BufferFull):
        producer.send(VIEWED)
    assert accepted(redis_url)["event"] == 1500
    producer.close()


def test_send_with_redis_out_of_memory_raises_and_changes_nothing(
    redis_factory: Callable[..., EmbeddedRedis],
) -> None:
    """At `maxmemory` the producer raises BufferFull; what was accepted still adds up."""
    server = redis_factory()
    producer = Producer.from_env({"REDIS_URL": server.url})
    producer.send_many([VIEWED] * 100)
    with redis.Redis.from_url(server.url) as client:
        client.config_set("maxmemory", 1)
        with pytest.raises(BufferFull, match="out of memory"):
            producer.send(VIEWED)
        client.config_set("maxmemory", 0)
    assert accepted(server.url)["event"] == 100
    producer.close()


def test_send_without_a_server_raises_unavailable_and_not_sent() -> None:
    """Nothing listens: BufferUnavailable, and it is safe to repeat the call."""
    producer = Producer.from_env({"REDIS_URL": f"redis://127.0.0.1:{find_free_port()}/0"})
    with pytest.raises(BufferUnavailable) as away:
        producer.send(VIEWED)
    assert away.value.sent is False
    producer.close()


@pytest.mark.usefixtures("prompt_producers")
def test_send_to_a_silent_redis_raises_unavailable_and_sent() -> None:
    """A Redis that reads and never answers costs the timeouts, without a second try."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        producer = Producer.from_env(
            {"REDIS_URL": f"redis://127.0.0.1:{silent.getsockname()[1]}/0"}
        )
        began = time.monotonic()
        with pytest.raises(BufferUnavailable) as away:
            producer.send(VIEWED)
        assert time.monotonic() - began < WORKER_TIMEOUT_S
        assert away.value.sent is True
        silent.setblocking(False)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()
        producer.close()


@pytest.mark.parametrize("kind", ["blocking", "asyncio"])
def test_new_connection_needs_no_extra_round_trip(
    redis_client: redis.Redis, redis_url: str, kind: str
) -> None:
    """Redis sees only the call: no handshake with steps that could each take a timeout."""
    redis_client.script_flush()
    redis_client.config_resetstat()
    if kind == "blocking":
        producer = Producer.from_env({"REDIS_URL": redis_url})
        producer.event("A", identity="1")
        producer.close()
    else:

        async def once() -> None:
            producer = AsyncProducer.from_env({"REDIS_URL": redis_url})
            await producer.event("A", identity="1")
            await producer.close()

        asyncio.run(once())
    seen: Any = redis_client.info("commandstats")
    commands = {name.removeprefix("cmdstat_").partition("|")[0] for name in seen}
    assert {"evalsha", "eval"} <= commands
    assert not commands & {"hello", "client", "ping", "auth", "select"}


def test_producer_reconnects_to_a_restarted_redis(
    redis_factory: Callable[..., EmbeddedRedis],
) -> None:
    """After a restart the next call opens a new connection."""
    server = redis_factory()
    producer = Producer.from_env({"REDIS_URL": server.url})
    producer.send(VIEWED)
    server.stop()
    with pytest.raises(BufferUnavailable):
        producer.send(VIEWED)
    server.start()
    producer.send(VIEWED)
    assert accepted(server.url)["event"] == 2
    producer.close()


def test_producer_works_in_parent_and_child_after_a_fork(
    producer: Producer, redis_url: str
) -> None:
    """Web servers load the app and fork; both sides enqueue over their own connections."""
    producer.send(VIEWED)
    child = os.fork()
    if child == 0:
        sent = 0
        with contextlib.suppress(Exception):  # an exception must not go on into the test runner
            sent = producer.send_many([VIEWED] * 50).accepted
        os._exit(0 if sent == 50 else 1)
    producer.send_many([VIEWED] * 50)
    assert os.waitpid(child, 0)[1] == 0
    assert accepted(redis_url)["event"] == 101


def test_async_producer_behaves_like_the_blocking_one(redis_url: str) -> None:
    """Same records, same errors; a hundred concurrent callers lose nothing."""

    async def everything() -> None:
        producer = AsyncProducer.from_env({"REDIS_URL": redis_url, "INGEST_MAX_BUFFERED": "1200"})
        ids = await asyncio.gather(
            *(producer.event("A", {"n": n}, identity=str(n)) for n in range(100))
        )
        assert len(set(ids)) == 100
        await producer.profile({"Name": "Jack"}, identity="42")
        result = await producer.send_many([VIEWED, {}, NAMED])
        assert (result.accepted, result.rejected) == (2, 1)
        with pytest.raises(InvalidRecord):
            await producer.send({"type": "event"})
        with pytest.raises(BufferFull) as full:
            await producer.send_many([VIEWED] * 2000)
        assert len(full.value.accepted) == 1000
        await producer.close()

    asyncio.run(everything())
    assert accepted(redis_url) == {"event": 1101, "profile": 2, "token": 0}


def test_importing_the_package_loads_no_worker_dependencies() -> None:
    """A web app that only produces loads no worker, no HTTP client and no web server."""
    code = (
        "import sys, worker; worker.Producer; "
        "print(sorted({m.split('.')[0] for m in sys.modules} & "
        "{'celery','kombu','httpx','httpcore','starlette','click','rich','structlog'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
