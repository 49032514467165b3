"""Requests per second: the slots that claims are given, over all who claim."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import orjson
import pytest
import redis

from support.pipeline import QUICK, stored_event
from support.polling import poll_until
from support.stored import put
from worker.buffer import keys
from worker.buffer.buffer import Buffer
from worker.buffer.claims import Claim, Settle
from worker.settings.destination import KindSettings
from worker.vendors.protocol import Kind, Outcome, Verdict


def buffer_of(client: redis.Redis, requests_per_s: int, records: int) -> Buffer:
    """A buffer with so many records, each a batch of its own."""
    settings = replace(
        QUICK,
        kinds={Kind.EVENT: KindSettings(1)},
        requests_per_s=requests_per_s,
        concurrency=1000,
        concurrency_limit=1000,
    )
    buffer = Buffer(client, settings)
    put(buffer, Kind.EVENT, [b"i"] * records, [stored_event("i") for _ in range(records)])
    return buffer


def slot_ms(claim: Claim) -> float:
    """When a claim may be sent, in epoch milliseconds."""
    return claim.begun_ms + claim.wait_ms


@pytest.mark.parametrize("requests_per_s", [1, 7, 100, 1000])
def test_slots_never_exceed_the_limit_in_a_second(
    every_redis: redis.Redis, requests_per_s: int
) -> None:
    """Slots are more than the limit's share of a second apart, whoever takes them."""
    first = buffer_of(every_redis, requests_per_s, 60)
    second = Buffer(every_redis, first.destination)
    claims = []
    for at in range(60):
        claim = (first, second)[at % 2].claim(begun=True)
        if claim is None:
            break
        claims.append(claim)
    slots = [slot_ms(claim) for claim in claims]
    gaps = [later - earlier for earlier, later in pairwise(slots)]
    # Redis' clock is read in whole milliseconds.
    assert all(gap >= 1000 / requests_per_s - 0.001 for gap in gaps)
    assert len(claims) == 60 or claims[-1].wait_ms < 1000, "given out for a second ahead"


def test_slots_use_95_percent_of_the_limit(every_redis: redis.Redis) -> None:
    """A sender that claims early waits for its slot, so 95 of 100 requests a second are made."""
    buffer = buffer_of(every_redis, 100, 50)
    began_ms = now_ms(every_redis)
    claims = [buffer.claim(begun=True) for _ in range(50)]
    took_ms = now_ms(every_redis) - began_ms
    slots = [slot_ms(claim) for claim in claims if claim]
    assert len(slots) == 50
    # Claims that come late find later slots, by no more than what they are late.
    assert slots[-1] - slots[0] <= 49 * 10.5 + took_ms


def test_slots_without_a_limit_do_not_wait(every_redis: redis.Redis) -> None:
    """CleverTap limits requests in flight, not requests per second."""
    buffer = buffer_of(every_redis, 0, 20)
    claims = [buffer.claim(begun=True) for _ in range(20)]
    assert [claim.wait_ms for claim in claims if claim] == [0.0] * 20


def test_batch_claimed_by_the_drain_keeps_its_slot(every_redis: redis.Redis) -> None:
    """A worker begins it later and waits for the rest of the time."""
    buffer = buffer_of(every_redis, 2, 2)
    batches = keys.batches(buffer.destination.name)
    now, later = buffer.claim(begun=False), buffer.claim(begun=False)
    assert now
    assert later
    assert now.wait_ms == later.wait_ms == 0.0, "not begun: nothing is to be sent yet"
    # So many are in flight that a slot may be a minute ahead.
    others = {f"other-{number}": 2**52 for number in range(200)}
    every_redis.zadd(keys.leases(buffer.destination.name), others)
    for claim in (now, later):
        raw: Any = every_redis.hget(batches, claim.batch)
        batch = orjson.loads(raw)
        batch["slot"] += 60_000  # so that it is still to come, however busy the machine is
        every_redis.hset(batches, claim.batch, orjson.dumps(batch))
    kept = [first_slot_ms(every_redis, claim) for claim in (now, later)]
    assert kept[1] - kept[0] >= 500
    begun = [buffer.begin(claim.batch, claim.token) for claim in (now, later)]
    assert [slot_ms(claim) for claim in begun if claim] == pytest.approx(kept, abs=1e-3)


def test_retry_takes_its_own_slot(every_redis: redis.Redis) -> None:
    """A request that is sent again counts towards the limit."""
    buffer = buffer_of(every_redis, 2, 1)
    first = buffer.claim(begun=True)
    assert first
    again = Settle(Verdict(Outcome.RETRY, "handed_back"), counts_attempt=False)
    assert buffer.finish(first, again, "").settled
    second = buffer.claim(begun=True)
    assert second
    assert second.batch == first.batch
    assert slot_ms(second) - slot_ms(first) >= 500


def test_missed_slot_is_replaced_by_another(every_redis: redis.Redis) -> None:
    """Batches that a busy worker delayed are not all sent together when it is free again."""
    buffer = buffer_of(every_redis, 100, 3)
    held_up = [claim for _ in range(3) if (claim := buffer.claim(begun=False))]
    slots = [first_slot_ms(every_redis, claim) for claim in held_up]
    every_redis.hset(keys.state(buffer.destination.name), "rate_at", 0)
    poll_until(lambda: now_ms(every_redis) > slots[-1] + 60, what="all their slots are past")
    begun = [buffer.begin(claim.batch, claim.token) for claim in held_up]
    later = [slot_ms(claim) for claim in begun if claim]
    assert later[0] > slots[-1]
    assert all(second - first >= 10 for first, second in pairwise(later))


def first_slot_ms(client: redis.Redis, claim: Claim) -> float:
    """The slot that a claim was given, in epoch milliseconds."""
    raw: Any = client.hget(keys.batches(QUICK.name), claim.batch)
    return float(orjson.loads(raw)["slot"])


def now_ms(client: redis.Redis) -> float:
    """Redis' own clock, in epoch milliseconds."""
    seconds, microseconds = client.time()
    return seconds * 1000 + microseconds / 1000
