"""The remainders of many batches are retried together, without failed batches among them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from support import fault_scripts
from support.pipeline import Pipeline, PipelineFactory, identities
from support.vendor import MISCELLANEOUS, LoopbackVendor, Record
from worker.settings.destination import KindSettings

HUNDREDS = {"event": KindSettings(100)}
# Nothing is due before a test says so, however busy the machine is.
LATER = {"backoff_base_s": 600.0, "backoff_cap_s": 600.0}


def test_backlog_with_small_retries_keeps_requests_full(
    pipeline_of: PipelineFactory, vendor: LoopbackVendor, rng: random.Random
) -> None:
    """Every response leaves a record or two to retry, and still 95 of 100 requests are full."""
    pipeline = pipeline_of(kinds=HUNDREDS, max_wait_s=600.0)
    names = identities(20_000)
    for name in rng.sample(names, 300):
        vendor.prescribe(name, MISCELLANEOUS)
    pipeline.accept(names)
    pipeline.deliver(until=lambda: pipeline.events.buffered == 0)
    sizes = [each.records for each in vendor.uploads]
    assert sizes.count(100) >= 0.95 * len(sizes), Counter(sizes)
    pipeline.deliver()
    assert vendor.taken == dict.fromkeys(names, 1)


def test_remainders_wait_at_most_max_wait(
    pipeline_of: PipelineFactory, vendor: LoopbackVendor
) -> None:
    """A retry lets full batches pass for `max_wait`, and then goes before them."""
    pipeline = pipeline_of(kinds=HUNDREDS, max_wait_s=0.05)
    vendor.prescribe("i0", MISCELLANEOUS)
    pipeline.accept(identities(50_000))
    pipeline.deliver(until=lambda: vendor.taken["i0"])
    assert pipeline.events.buffered > 0


def test_remainders_keep_their_own_attempts(
    pipeline_of: PipelineFactory, vendor: LoopbackVendor
) -> None:
    """Only records of the same attempt are merged: none gets an attempt more, or less."""
    pipeline = pipeline_of(kinds=HUNDREDS)
    sent: Counter[str] = Counter()
    take = vendor.take

    def note(records: Sequence[Record], *, dry_run: bool = False) -> bytes:
        sent.update(str(record["identity"]) for record in records)
        return take(records, dry_run=dry_run)

    vendor.take = note  # type: ignore[method-assign] # it listens, and changes nothing
    names = identities(3000)
    stubborn = names[::50]
    for name in stubborn:
        vendor.prescribe(name, always=MISCELLANEOUS)
    pipeline.accept(names)
    pipeline.deliver()
    assert {name: sent[name] for name in stubborn} == dict.fromkeys(stubborn, 5)
    assert sorted(each["identity"] for each in pipeline.dead()) == sorted(stubborn)
    assert {each["attempts"] for each in pipeline.dead()} == {"5"}
    assert vendor.taken == dict.fromkeys(set(names) - set(stubborn), 1)


def remainders(pipeline: Pipeline, vendor: LoopbackVendor, *prefixes: str) -> None:
    """Leave a batch of two records to send again for each prefix; the other eight are taken."""
    for prefix in prefixes:
        for name in identities(2, prefix):
            vendor.prescribe(name, MISCELLANEOUS)
        pipeline.accept(identities(10, prefix))
        claim = pipeline.buffer.claim(begun=True)
        assert claim is not None
        assert claim.size == 10
        pipeline.deliverer.deliver(claim)


def test_due_remainders_make_one_request(
    pipeline_of: PipelineFactory, vendor: LoopbackVendor
) -> None:
    """The remainders of three responses go in one request when all of them are due."""
    pipeline = pipeline_of(**LATER)
    pipeline.deliverer.random = lambda: 0.99
    remainders(pipeline, vendor, "a", "b", "c")
    assert pipeline.step() is None
    all_are_due(pipeline)
    pipeline.deliver()
    assert sorted(vendor.uploads[-1].identities) == ["a0", "a1", "b0", "b1", "c0", "c1"]
    assert len(vendor.uploads) == 4
    assert set(vendor.taken.values()) == {1}


def all_are_due(pipeline: Pipeline) -> None:
    """Let the time pass that every batch has to wait."""
    waiting = "ingest:{main}:retries"
    pipeline.client.zunionstore(waiting, {waiting: 0})


def test_merged_remainders_respect_the_size_limit(
    pipeline_of: PipelineFactory, vendor: LoopbackVendor
) -> None:
    """Remainders are not joined beyond the vendor's size limit."""
    pipeline = pipeline_of(kinds={"event": KindSettings(10)}, batch_max_bytes=10_000, **LATER)
    pipeline.deliverer.random = lambda: 0.99
    for prefix in "abcdefghij":
        names = [prefix, f"{prefix}-fine"]
        vendor.prescribe(prefix, MISCELLANEOUS)
        pipeline.accept(names, "x" * 1800)
        claim = pipeline.buffer.claim(begun=True)
        assert claim is not None
        pipeline.deliverer.deliver(claim)
    all_are_due(pipeline)
    pipeline.deliver()
    again = vendor.uploads[10:]
    assert sorted(name for each in again for name in each.identities) == list("abcdefghij")
    assert max(each.bytes for each in again) <= 10_000
    # Ten of two kilobytes make three requests; Redis counts somewhat more than the bytes.
    assert len(again) <= 5


def test_failed_batches_are_not_merged(
    pipeline_of: PipelineFactory, vendor: LoopbackVendor
) -> None:
    """A batch that failed as a whole, or is halved to find a poison, is sent on its own."""
    pipeline = pipeline_of(**LATER)
    pipeline.deliverer.random = lambda: 0.99
    remainders(pipeline, vendor, "a", "b")
    for prefix, trouble in (("w", 503), ("h", 400)):
        vendor.script(fault_scripts.status(trouble))
        pipeline.accept(identities(4, prefix))
        claim = pipeline.buffer.claim(begun=True)
        assert claim is not None
        pipeline.deliverer.deliver(claim)
    before = len(vendor.uploads)
    all_are_due(pipeline)
    pipeline.deliver()
    together = sorted("".join(sorted(each.identities)) for each in vendor.uploads[before:])
    assert together == ["a0a1b0b1", "h0h1", "h2h3", "w0w1w2w3"]


def test_ordered_batches_are_not_merged(
    pipeline_of: PipelineFactory, vendor: LoopbackVendor
) -> None:
    """Profiles' batches hold their partitions, and each is sent again on its own."""
    pipeline = pipeline_of(backoff_base_s=0.05)
    names = identities(300)
    for name in names[::30]:
        vendor.prescribe(name, MISCELLANEOUS, MISCELLANEOUS)
    pipeline.accept_profiles(names)
    pipeline.deliver()
    assert vendor.taken == dict.fromkeys(names, 1)
