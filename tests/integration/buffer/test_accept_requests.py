"""`accept_requests`: several requests' records in one step, of each request all or none."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from support.stored import put
from worker.buffer import keys
from worker.buffer.accept import FULL, KEY_REUSED, MEMORY_FULL
from worker.buffer.buffer import Buffer
from worker.buffer.records import new_id, pack
from worker.buffer.scripts import script
from worker.gateway.api.enqueuer import (
    EnqueueRequest,
    IdempotencyKey,
    arguments,
)
from worker.producer.encoder import EnqueueBatch
from worker.settings.destination import Destination, KindSettings
from worker.vendors.clevertap.account import CleverTapAccount
from worker.vendors.protocol import Kind

MAIN = Destination(
    name="main",
    account=CleverTapAccount(),
    kinds={Kind.EVENT: KindSettings(1000), Kind.PROFILE: KindSettings(100, partitions=4)},
    max_buffered=10,
)


def call(kind: str, *names: str) -> EnqueueBatch:
    """The records of one kind, one for each name."""
    made = EnqueueBatch(MAIN, kind)
    for name in names:
        made.identities.append(name.encode())
        made.stored.append(pack(new_id(), "", "", name.encode()))
    return made


def take(client: redis.Redis, *requests: EnqueueRequest, token: str | None = None) -> list[Any]:
    """Run the script."""
    args = arguments(MAIN, token or new_id(), requests)
    answer: list[Any] = script("accept_requests").run(client, keys.base("main"), *args)
    return answer


def once(key: str, fingerprint: str = "f") -> IdempotencyKey:
    """An idempotency key."""
    return IdempotencyKey(key, fingerprint.ljust(32, "0"))


def buffered(client: redis.Redis) -> dict[str, int]:
    """How many records each kind has, as the worker's own status counts them."""
    status = Buffer(client, MAIN).status()
    assert all(places.adds_up for places in status.kinds.values())
    return {kind: places.buffered for kind, places in status.kinds.items()}


def test_accept_requests_accepts_each_whole_or_not_at_all(every_redis: redis.Redis) -> None:
    """A request that does not fit enqueues nothing and does not block a smaller one behind it."""
    answers = take(
        every_redis,
        EnqueueRequest([call(Kind.EVENT, *"abcdef"), call(Kind.PROFILE, "a")]),
        EnqueueRequest([call(Kind.EVENT, "g"), call(Kind.PROFILE, *"bcd")]),
        EnqueueRequest([call(Kind.PROFILE, *"bcd")]),
        EnqueueRequest([call(Kind.EVENT, "z")]),
    )
    assert answers == [1, FULL, 1, FULL]
    assert buffered(every_redis) == {Kind.EVENT: 6, Kind.PROFILE: 4}


def test_accept_requests_puts_an_identity_into_one_partition(every_redis: redis.Redis) -> None:
    """Both scripts put an identity's records into one partition, in order."""
    buffer = Buffer(every_redis, MAIN)
    first, second = call(Kind.PROFILE, *"abcd"), call(Kind.PROFILE, *"dcba")
    put(buffer, Kind.PROFILE, first.identities, first.stored)
    take(every_redis, EnqueueRequest([second]))
    for partition in range(4):
        stored: list[bytes] = every_redis.lrange(
            keys.pending("main", Kind.PROFILE, partition), 0, -1
        )  # type: ignore[assignment] # a blocking client
        names = [each[-1:] for each in stored]
        half = len(names) // 2
        assert names[:half] == names[half:][::-1]
    assert buffered(every_redis) == {Kind.EVENT: 0, Kind.PROFILE: 8}


def test_accept_requests_repeated_with_its_token_changes_nothing(every_redis: redis.Redis) -> None:
    """A client that lost the response repeats the call with the same token and gets the same."""
    requests = (
        EnqueueRequest([call(Kind.EVENT, *"abcdefgh")]),
        EnqueueRequest([call(Kind.EVENT, *"xyz")], once("k"), b"kept"),
        EnqueueRequest([call(Kind.EVENT, "i")], once("l"), b"kept"),
        EnqueueRequest([call(Kind.EVENT, "i")], once("l"), b"other"),
    )
    first = take(every_redis, *requests, token="t")
    assert first == [1, FULL, 1, b"kept"]
    assert take(every_redis, *requests, token="t") == first
    assert buffered(every_redis) == {Kind.EVENT: 9, Kind.PROFILE: 0}


def test_accept_requests_with_a_known_key_returns_the_kept_response(
    every_redis: redis.Redis,
) -> None:
    """A second request with the key gets the kept response, or a rejection if it differs."""
    assert take(every_redis, EnqueueRequest([call(Kind.EVENT, "a")], once("k"), b"[1]")) == [1]
    again = take(
        every_redis,
        EnqueueRequest([call(Kind.EVENT, "a")], once("k"), b"[2]"),
        EnqueueRequest([call(Kind.EVENT, "b")], once("k", "g"), b"[3]"),
    )
    assert again == [b"[1]", KEY_REUSED]
    assert buffered(every_redis) == {Kind.EVENT: 1, Kind.PROFILE: 0}


def test_accept_requests_keeps_a_key_without_valid_records(every_redis: redis.Redis) -> None:
    """A request with only rejected records gets the same response when repeated."""
    assert take(every_redis, EnqueueRequest([], once("k"), b"[1]")) == [1]
    assert take(every_redis, EnqueueRequest([], once("k"), b"[2]")) == [b"[1]"]


def watched(client: redis.Redis, memory_full: int) -> None:
    """A tick has just looked at the memory, and this is what it found."""
    seen_until = client.time()[0] * 1000 + 10_000
    client.hset(
        keys.state("main"),
        mapping={"memory_full": memory_full, "memory_seen_until": seen_until},
    )


def test_accept_requests_with_little_memory_only_answers_repetitions(
    every_redis: redis.Redis,
) -> None:
    """With memory nearly full nothing is accepted, but kept responses are still returned."""
    take(every_redis, EnqueueRequest([call(Kind.EVENT, "a")], once("k"), b"[1]"))
    watched(every_redis, memory_full=1)
    answers = take(
        every_redis,
        EnqueueRequest([call(Kind.EVENT, "b")]),
        EnqueueRequest([call(Kind.EVENT, "a")], once("k"), b"[2]"),
    )
    assert answers == [MEMORY_FULL, b"[1]"]
    assert buffered(every_redis) == {Kind.EVENT: 1, Kind.PROFILE: 0}


def test_accept_requests_out_of_memory_changes_nothing(every_redis: redis.Redis) -> None:
    """Redis' own rejection comes before the first write, so no request is half accepted."""
    watched(every_redis, memory_full=0)
    every_redis.config_set("maxmemory", "1")
    with pytest.raises(redis.RedisError, match=r"OOM|memory"):
        take(
            every_redis,
            EnqueueRequest([call(Kind.PROFILE, "a"), call(Kind.EVENT, "a")], once("k"), b"[1]"),
        )
    every_redis.config_set("maxmemory", "1gb")
    assert buffered(every_redis) == {Kind.EVENT: 0, Kind.PROFILE: 0}
    assert every_redis.keys("ingest:{main}:*") == [keys.state("main").encode()]
    assert every_redis.hlen(keys.state("main")) == 2


def test_accept_requests_takes_thousands_of_records(every_redis: redis.Redis) -> None:
    """More records than fit on Lua's stack are pushed in parts, in order."""
    names = [str(number) for number in range(9000)]
    many = Destination(
        "main", CleverTapAccount(), {Kind.EVENT: KindSettings(1000)}, max_buffered=10_000
    )
    args = arguments(many, new_id(), [EnqueueRequest([call(Kind.EVENT, *names)])])
    assert script("accept_requests").run(every_redis, keys.base("main"), *args) == [1]
    stored: list[bytes] = every_redis.lrange(keys.pending("main", Kind.EVENT), 0, -1)  # type: ignore[assignment] # a blocking client
    assert [each.partition(b"\n")[2].decode() for each in stored] == names
