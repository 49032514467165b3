"""One record for several destinations, with a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
import redis

from worker import AsyncProducer, Producer
from worker.buffer import keys
from worker.buffer.records import canonical_id, unpack
from worker.connections.clients import async_producer_client, producer_client
from worker.errors import InvalidRecord, UnknownDestination
from worker.settings.settings import Settings

BOTH = ("clevertap", "bloomreach")


@pytest.fixture
def settings(redis_url: str) -> Settings:
    """The destinations as shipped."""
    return Settings.from_env({"REDIS_URL": redis_url})


@pytest.fixture
def producer(settings: Settings, redis_url: str) -> Iterator[Producer]:
    """A producer for them."""
    producer = Producer(settings, producer_client(redis_url))
    yield producer
    producer.close()


def buffered(client: redis.Redis, name: str, kind: str = "event") -> list[tuple[str, object]]:
    """Id and body of what waits for a destination, over all partitions."""
    found = client.keys(keys.pending(name, kind)[:-1].replace("{", "\\{") + "*")
    assert isinstance(found, list)
    lists: Any = [client.lrange(key, 0, -1) for key in found]
    stored = [unpack(each) for records in lists for each in records]
    return [(each.id, orjson.loads(each.body)) for each in stored]


def test_event_to_two_destinations_is_enqueued_in_each_shape(
    producer: Producer, redis_client: redis.Redis
) -> None:
    """The returned ids are those of the enqueued records, one for each destination."""
    ids = producer.to(*BOTH).event("Viewed", {"Price": 5}, identity="42", ts=1_700_000_000)
    assert tuple(ids) == BOTH
    assert buffered(redis_client, "clevertap") == [
        (
            canonical_id(ids["clevertap"]),
            {"identity": "42", "type": "event", "evtName": "Viewed", "evtData": {"Price": 5},
             "ts": 1_700_000_000},
        )
    ]  # fmt: skip
    assert buffered(redis_client, "bloomreach") == [
        (
            canonical_id(ids["bloomreach"]),
            {"customer_ids": {"registered": "42"}, "event_type": "Viewed",
             "properties": {"Price": 5}, "timestamp": 1_700_000_000},
        )
    ]  # fmt: skip


def test_unknown_destination_raises_and_a_repeated_one_counts_once(
    producer: Producer, redis_client: redis.Redis
) -> None:
    """An unknown name raises at once; a name given twice is one destination."""
    with pytest.raises(UnknownDestination, match="nowhere"):
        producer.to("clevertap", "nowhere")
    ids = producer.to("bloomreach", "bloomreach").send(
        {"customer_ids": {"registered": "42"}, "event_type": "Viewed"}
    )
    assert list(ids) == ["bloomreach"]
    assert len(buffered(redis_client, "bloomreach")) == 1


def test_async_fanout_enqueues_like_the_blocking_one(
    settings: Settings, redis_url: str, redis_client: redis.Redis
) -> None:
    """Both fan-outs share everything except the connection."""

    async def send() -> list[dict[str, str]]:
        producer = AsyncProducer(settings, async_producer_client(redis_url))
        both = producer.to(*BOTH)
        made = [
            await both.event("Viewed", {"Price": 5}, identity="42"),
            await both.profile({"City": "Brno"}, identity="42"),
        ]
        with pytest.raises(InvalidRecord):
            await both.send({})
        await producer.close()
        return made

    for ids, kind in zip(asyncio.run(send()), ("event", "profile"), strict=True):
        for name in BOTH:
            assert [each for each, _ in buffered(redis_client, name, kind)] == [
                canonical_id(ids[name])
            ]
