"""A batch that alone makes the vendor fail: how it is recognized, and what others suffer."""

from __future__ import annotations

from support import fault_scripts
from support.pipeline import Pipeline, PipelineFactory, identities
from support.polling import poll_until
from support.vendor import MISCELLANEOUS, LoopbackVendor, Record

HOUR_S = 3600


def is_poison(record: Record) -> bool:
    """Whether this is the first update of Jack."""
    return (record["identity"], record["profileData"]["Number"]) == ("jack", 0)


def step(pipeline: Pipeline) -> None:
    """Deliver the next batch, as soon as one may be claimed."""
    poll_until(lambda: pipeline.step() is not None, what="a batch is sent", every_s=0.002)


def test_updates_behind_an_isolated_record_get_their_own_horizon(
    pipeline_of: PipelineFactory, vendor: LoopbackVendor
) -> None:
    """Updates held for a day behind a failing record survive their own next failure."""
    pipeline = pipeline_of(backoff_cap_s=0.02, backoff_base_s=0.001)
    vendor.whole = lambda records: (500, "Oops") if any(is_poison(r) for r in records) else None
    pipeline.accept_profiles(["jack"] * 2)
    step(pipeline)
    pipeline.age(HOUR_S)
    while len(pipeline.batches()) < 2:  # until it was halved: the vendor takes others meanwhile
        pipeline.accept_profiles(["someone"])
        step(pipeline)
    pipeline.age(pipeline.destination.retry_horizon_s)
    pipeline.deliver(until=lambda: pipeline.dead("profile"))
    vendor.script(fault_scripts.status(503))
    pipeline.deliver()
    [dead] = pipeline.dead("profile")
    assert (dead["identity"], dead["code"]) == ("jack", "500")
    assert vendor.taken["jack"] == 1


def test_partly_accepted_batch_is_not_suspected(
    pipeline_of: PipelineFactory, vendor: LoopbackVendor
) -> None:
    """The remainder of a batch then meets a failing vendor that accepted nothing else."""
    pipeline = pipeline_of(backoff_cap_s=0.02, backoff_base_s=0.001)
    left = ["i1", "i2", "i3"]
    for name in left:
        vendor.prescribe(name, MISCELLANEOUS)
    vendor.script(fault_scripts.status(503))
    pipeline.accept(identities(100))
    step(pipeline)
    pipeline.age(HOUR_S)
    step(pipeline)
    assert len(vendor.taken) == 97
    vendor.script(fault_scripts.status(503))
    step(pipeline)
    pipeline.deliver()
    assert vendor.requests[-1].identities == left


def test_batch_claimed_for_another_thread_is_delivered_without_it(
    pipeline_of: PipelineFactory, vendor: LoopbackVendor
) -> None:
    """The batch claimed with the settlement that raised the concurrency does not stay in flight."""
    pipeline = pipeline_of(concurrency=1, concurrency_limit=4)

    def unable() -> None:
        raise ConnectionError

    pipeline.deliverer.on_more_capacity = unable
    pipeline.accept(identities(4000))
    done = pipeline.deliverer.run_ready(is_over=lambda: False)
    assert done.delivered == len(vendor.taken) == 4000
    assert pipeline.events.totals["ambiguous"] == 0
