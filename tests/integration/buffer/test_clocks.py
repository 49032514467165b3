"""Machines with wrong clocks: everything that matters is timed by Redis' clock."""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest

from support.pipeline import Pipeline, PipelineFactory, identities, stored_event
from support.polling import poll_until
from support.stored import put
from worker.buffer import keys
from worker.buffer.claims import Claim
from worker.vendors.protocol import Kind

HOUR_MS = 3_600_000


def accepted_by_a_clock(skew_ms: int) -> bytes:
    """A stored event of a producer with a clock that is wrong by this much."""
    right = stored_event("jack")
    return b"%012x" % (int(right[:12], 16) + skew_ms) + right[12:]


@pytest.mark.parametrize("skew_ms", [-HOUR_MS, HOUR_MS])
def test_claim_with_a_wrong_producer_clock_is_not_delayed(
    pipeline_of: PipelineFactory, skew_ms: int
) -> None:
    """A record of a producer an hour behind or ahead is not held back."""
    pipeline = pipeline_of(max_wait_s=5.0)
    put(pipeline.buffer, Kind.EVENT, [b"jack"], [accepted_by_a_clock(skew_ms)])
    assert pipeline.step() is not None
    assert pipeline.vendor.taken["jack"] == 1


def test_claim_with_a_slightly_fast_clock_waits_at_most_twice(pipeline_of: PipelineFactory) -> None:
    """Within `max_wait` records still wait for a full batch, at most twice as long."""
    pipeline = pipeline_of(max_wait_s=600.0)
    put(pipeline.buffer, Kind.EVENT, [b"jack"], [accepted_by_a_clock(300)])
    assert pipeline.step() is None
    poll_until(pipeline_of(max_wait_s=0.4).step, what="the record is claimed")


def test_slots_after_the_clock_went_back_are_given_out_again(pipeline_of: PipelineFactory) -> None:
    """After a failover to a machine with a slower clock, requests continue at their rate."""
    pipeline = pipeline_of(requests_per_s=100)
    pipeline.accept(identities(1))
    ahead = int(time.time() * 1000) + 20_000
    pipeline.client.hset(keys.state("main"), "rate_at", ahead)
    claim = pipeline.buffer.claim(begun=True)
    assert claim is not None
    assert claim.wait_ms == 0
    assert float(pipeline.state("rate_at") or 0) < ahead


def begun_with_a_slot_ahead(pipeline: Pipeline, ahead_ms: int) -> Claim:
    """A batch with a slot so far ahead, claimed for us and begun; sixty others are in flight."""
    pipeline.accept(identities(1))
    claim = pipeline.buffer.claim(begun=False)
    assert claim is not None
    pipeline.client.zadd(keys.leases("main"), {f"other-{number}": 2**52 for number in range(60)})
    (batch,) = pipeline.batches()
    batch["slot"] = int(time.time() * 1000) + ahead_ms
    pipeline.client.hset(keys.batches("main"), claim.batch, orjson.dumps(batch))
    begun = pipeline.buffer.begin(claim.batch, claim.token)
    assert begun is not None
    return begun


def test_begin_with_a_slot_of_a_faster_clock_takes_another(
    pipeline_of: PipelineFactory,
) -> None:
    """A batch claimed before a failover and begun after it takes another slot."""
    assert begun_with_a_slot_ahead(pipeline_of(requests_per_s=100), HOUR_MS).wait_ms < 1000


def test_lease_starts_when_its_slot_may_be_sent(pipeline_of: PipelineFactory) -> None:
    """Its lease ends as long after the slot as any other, or another worker would send it too."""
    pipeline = pipeline_of(requests_per_s=1)
    begun = begun_with_a_slot_ahead(pipeline, 60_000)
    assert begun.wait_ms > 0
    ends_ms: Any = pipeline.client.zscore(keys.leases("main"), begun.batch)
    lease_ms = ends_ms - begun.begun_ms - begun.wait_ms
    assert lease_ms == pipeline.destination.lease_s * 1000


def test_probe_after_the_clock_went_back_is_due_once(pipeline_of: PipelineFactory) -> None:
    """A destination parked at a time that is now in the future is probed, once per interval."""
    pipeline = pipeline_of(probe_interval_s=60.0)
    pipeline.buffer.park("403: no")
    ahead = int(time.time() * 1000) + HOUR_MS
    pipeline.client.hset(keys.state("main"), mapping={"since": ahead, "probed_at": ahead})
    assert [pipeline.buffer.tick()[1] for _ in range(3)] == [True, False, False]
