"""Records that wait beside a busy identity: filling a request is worth a moment, and no more."""

from __future__ import annotations

from support.pipeline import PipelineFactory, identities, stored_profile
from support.polling import poll_until
from support.stored import put
from worker.vendors.protocol import Kind

MAX_WAIT_S = 0.5


def accepted_earlier(stored: bytes, by_ms: int) -> bytes:
    """The same record, accepted so much earlier."""
    return b"%012x" % (int(stored[:12], 16) - by_ms) + stored[12:]


def test_claim_lets_others_pass_a_busy_identity(pipeline_of: PipelineFactory) -> None:
    """A long request with more of its identity behind it delays others by at most `max_wait`."""
    pipeline = pipeline_of(max_wait_s=MAX_WAIT_S)
    pipeline.accept_profiles(["hot"] * 250)
    slow = pipeline.buffer.claim(begun=True)
    assert slow is not None
    assert slow.size == 100
    pipeline.accept_profiles(identities(20, "other"))
    others = poll_until(lambda: pipeline.buffer.claim(begun=True), what="the others are claimed")
    assert others is not None
    assert 0 < others.size <= 20
    assert b"hot" not in b"".join(others.records)


def test_claim_waits_for_a_partition_about_to_be_freed(pipeline_of: PipelineFactory) -> None:
    """Right after a request began, a few old records wait for its partition, to fill theirs."""
    pipeline = pipeline_of(max_wait_s=600.0)
    names = ["hot"] * 250 + identities(20, "other")
    old = [accepted_earlier(stored_profile(name), 700_000) for name in names]
    put(pipeline.buffer, Kind.PROFILE, [name.encode() for name in names], old)
    assert pipeline.buffer.claim(begun=True) is not None
    assert pipeline.buffer.claim(begun=True) is None
