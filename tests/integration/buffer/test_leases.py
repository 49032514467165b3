"""What happens to a batch after its lease expires, and who may still change it."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from support import fault_scripts
from support.pipeline import Pipeline, PipelineFactory, identities
from support.polling import poll_until
from support.vendor import LoopbackVendor
from worker.buffer.claims import Claim, ExpiredLeases, Settle, Split
from worker.vendors.protocol import DELIVERED

LEASE_S = 0.05


@pytest.fixture
def hasty(pipeline_of: PipelineFactory) -> Pipeline:
    """A pipeline with leases that expire immediately."""
    return pipeline_of(lease_s=LEASE_S, concurrency=1)


def claimed(pipeline: Pipeline, *, begun: bool) -> Claim:
    """A batch of what is there."""
    claim = poll_until(lambda: pipeline.buffer.claim(begun=begun), what="a claim")
    assert claim is not None
    return claim


def recovered(pipeline: Pipeline) -> ExpiredLeases:
    """What ran out, once something has."""

    def found() -> ExpiredLeases | None:
        recovered = pipeline.buffer.recover()
        return recovered if recovered.unbegun or recovered.died else None

    recovered = poll_until(found, what="a lease runs out")
    assert recovered is not None
    return recovered


def test_expired_lease_without_a_start_uses_no_attempt(hasty: Pipeline) -> None:
    """A long queue costs no attempt and makes nothing ambiguous; the batch is unchanged."""
    hasty.accept(identities(10))
    for _ in range(5):
        claimed(hasty, begun=False)
        assert recovered(hasty) == ExpiredLeases(unbegun=1, died=0, records=0)
    (batch,) = hasty.batches()
    assert (batch["attempt"], batch["deaths"], batch["size"]) == (0, 0, 10)
    assert hasty.events.retrying == 10
    assert (hasty.events.totals["ambiguous"], hasty.events.totals["attempts"]) == (0, 0)


def test_expired_lease_after_a_start_counts_a_death(hasty: Pipeline) -> None:
    """Its records may have been sent: ambiguous, one attempt, one death; and they go first."""
    hasty.accept(identities(10, "first"))
    claim = claimed(hasty, begun=True)
    hasty.accept(identities(10, "later"))
    assert recovered(hasty) == ExpiredLeases(unbegun=0, died=1, records=10)
    assert hasty.events.totals["ambiguous"] == 10
    again = claimed(hasty, begun=True)
    assert (again.batch, again.records, again.deaths) == (claim.batch, claim.records, 1)


def test_deaths_not_in_a_row_do_not_make_a_batch_suspect(
    hasty: Pipeline, vendor: LoopbackVendor
) -> None:
    """A batch that was sent by a worker that survived is not suspected."""
    hasty.accept(identities(1))
    for _ in range(5):
        for _ in range(hasty.destination.max_deaths - 1):
            claimed(hasty, begun=True)
            recovered(hasty)
        vendor.script(fault_scripts.status(503))
        hasty.buffer.resume()  # forgets the failures, so that no back-off makes this slow
        hasty.deliverer.deliver(_lasting(hasty))
    hasty.deliverer.deliver(_lasting(hasty))
    assert vendor.taken == {"i0": 1}


def test_answered_halves_are_not_suspected(hasty: Pipeline, vendor: LoopbackVendor) -> None:
    """Their worker survived: earlier deaths of the batch do not count for a rejected half."""
    hasty.accept(identities(2))
    claimed(hasty, begun=True)
    recovered(hasty)
    vendor.script(fault_scripts.status(400))
    hasty.deliverer.deliver(_lasting(hasty))
    assert [batch["deaths"] for batch in hasty.batches()] == [0, 0]
    claimed(hasty, begun=True)
    recovered(hasty)
    while hasty.open:
        hasty.deliverer.deliver(_lasting(hasty))
    assert vendor.taken == {"i0": 1, "i1": 1}


def _lasting(pipeline: Pipeline) -> Claim:
    """A claim with a lease that lasts as long as its delivery."""
    buffer = type(pipeline.buffer)(pipeline.client, replace(pipeline.destination, lease_s=60.0))
    claim = poll_until(lambda: buffer.claim(begun=True), what="a claim")
    assert claim is not None
    return claim


def test_delayed_batch_is_handed_back_unsent(
    pipeline_of: PipelineFactory, vendor: LoopbackVendor
) -> None:
    """A batch with a lease that may end before its request does waits again, and is sent once."""
    pipeline = pipeline_of(lease_s=30.0, request_timeout_s=10.0)
    pipeline.accept(identities(3))
    claim = claimed(pipeline, begun=True)
    pipeline.deliverer.clock = lambda: time.monotonic() + 20.5
    step = pipeline.deliverer.deliver(claim)
    assert (step.settled.retrying, vendor.requests) == (3, [])
    assert (pipeline.events.retrying, pipeline.events.totals["attempts"]) == (3, 0)
    pipeline.deliverer.clock = lambda: time.monotonic() + 5
    pipeline.deliver()
    assert vendor.taken == dict.fromkeys(identities(3), 1)
    assert pipeline.events.totals["ambiguous"] == 0


def test_old_tokens_change_nothing(hasty: Pipeline) -> None:
    """They neither begin, nor settle, nor split a batch that was given to another worker."""
    hasty.accept(identities(10))
    asked = claimed(hasty, begun=False)
    recovered(hasty)
    late = claimed(hasty, begun=True)
    recovered(hasty)
    present = _lasting(hasty)
    before = hasty.status()
    assert hasty.buffer.begin(asked.batch, asked.token) is None
    assert hasty.buffer.begin(present.batch, present.token) is None
    assert hasty.buffer.finish(late, Settle(DELIVERED), "200").settled is None
    assert hasty.buffer.finish(late, Split("400"), "400").settled is None
    after = hasty.status()
    assert (after.kinds, after.in_use) == (before.kinds, before.in_use)
    assert hasty.buffer.finish(present, Settle(DELIVERED), "200").settled is not None
    assert hasty.events.totals["delivered"] == 10
