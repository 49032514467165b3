"""What becomes of each record when no whole answer comes."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest

from support import fault_scripts
from support.environment import ROOT
from support.pipeline import PASSCODE, Pipeline, PipelineFactory, elapsed_s, identities
from support.vendor import LoopbackVendor, Play

SELF_SIGNED = ROOT / "tests" / "data" / "self_signed.pem"  # for 127.0.0.1; guards nothing
LARGE = "x" * 16_000  # half of a thousand of these fits into no socket's buffer
# What the vendors below would take without a deadline is more than twice as long.
SOON_S = 20.0
TAKEN = {"a reset": fault_scripts.reset_after_all, "half an answer": fault_scripts.half_an_answer}


@pytest.fixture
def other() -> Iterator[LoopbackVendor]:
    """Another server, on another port."""
    with LoopbackVendor() as running:
        yield running


@pytest.fixture
def self_signed() -> Iterator[LoopbackVendor]:
    """A vendor with an untrusted certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(SELF_SIGNED)
    with LoopbackVendor(tls=context) as running:
        yield running


def test_refused_connection_is_not_ambiguous(pipeline: Pipeline, vendor: LoopbackVendor) -> None:
    """A vendor that refuses connections makes nothing ambiguous; once back, it gets everything."""
    vendor.refuse()
    pipeline.accept(identities(10))
    pipeline.deliver(until=lambda: pipeline.events.totals["attempts"] == 3)
    [batch] = pipeline.batches()
    assert batch["attempt"] == 0
    assert batch["error"].startswith("cannot connect") or "ConnectError" in batch["error"]
    vendor.open()
    pipeline.deliver()
    assert vendor.taken == dict.fromkeys(identities(10), 1)
    assert pipeline.events.totals["ambiguous"] == 0
    assert pipeline.status().answers == {"unreachable": 3, "200": 1}


@pytest.mark.parametrize(
    "play",
    [fault_scripts.reset_before_reading, fault_scripts.reset_after_half],
    ids=["at once", "after half"],
)
def test_reset_before_the_last_byte_is_not_ambiguous(
    pipeline_of: PipelineFactory, vendor: LoopbackVendor, play: Play
) -> None:
    """An incompletely sent request cannot have been processed: sent again, not counted."""
    pipeline = pipeline_of(batch_max_bytes=64 * 1024 * 1024)
    vendor.script(play)
    pipeline.accept(identities(1000), LARGE)
    pipeline.step()
    assert pipeline.status().answers == {"unreachable": 1}
    pipeline.deliver()
    assert vendor.taken == dict.fromkeys(identities(1000), 1)
    assert pipeline.events.totals["ambiguous"] == 0


@pytest.mark.parametrize("play", TAKEN.values(), ids=TAKEN.keys())
def test_failure_after_the_last_byte_is_ambiguous(
    pipeline: Pipeline, vendor: LoopbackVendor, play: Play
) -> None:
    """The vendor may have accepted a complete request: sent again, with duplicates counted."""
    vendor.script(play)
    pipeline.accept(identities(10))
    pipeline.deliver()
    assert vendor.taken == dict.fromkeys(identities(10), 2)
    totals = pipeline.events.totals
    assert (totals["delivered"], totals["ambiguous"], totals["attempts"]) == (10, 10, 2)
    assert pipeline.status().answers == {"ambiguous": 1, "200": 1}


@pytest.mark.parametrize("play", TAKEN.values(), ids=TAKEN.keys())
def test_ambiguous_dead_letter_is_not_sent_twice(
    pipeline_of: PipelineFactory, vendor: LoopbackVendor, play: Play
) -> None:
    """If the destination is set so, records in doubt become dead letters without duplicates."""
    pipeline = pipeline_of(ambiguous="dead_letter")
    vendor.script(play)
    pipeline.accept(identities(10))
    pipeline.deliver()
    assert vendor.taken == dict.fromkeys(identities(10), 1)
    assert [each["identity"] for each in pipeline.dead()] == identities(10)
    assert {each["reason"] for each in pipeline.dead()} == {"ambiguous"}
    assert pipeline.events.totals["ambiguous"] == 0
    assert pipeline.state("status") in (None, "running"), "network failures are not a flood"


def test_ambiguous_dead_letter_after_a_lost_worker(
    pipeline_of: PipelineFactory, vendor: LoopbackVendor
) -> None:
    """If the destination is set so, the batch of a lost worker becomes dead letters too."""
    pipeline = pipeline_of(ambiguous="dead_letter", lease_s=0.001, request_timeout_s=0.0005)
    pipeline.accept(identities(10))
    assert pipeline.buffer.claim(begun=True)
    pipeline.deliver(until=lambda: pipeline.buffer.recover().died)
    pipeline.deliver()
    assert {each["reason"] for each in pipeline.dead()} == {"ambiguous"}
    assert vendor.requests == []


def test_ambiguous_dead_letter_excludes_unsent_records(
    pipeline_of: PipelineFactory, vendor: LoopbackVendor
) -> None:
    """The setting does not affect records that the vendor cannot have."""
    pipeline = pipeline_of(ambiguous="dead_letter")
    vendor.refuse()
    pipeline.accept(identities(10))
    pipeline.step()
    vendor.open()
    pipeline.deliver()
    assert pipeline.dead() == []
    assert vendor.taken == dict.fromkeys(identities(10), 1)


@pytest.mark.parametrize(
    "play",
    [fault_scripts.silence_after_taking, fault_scripts.byte_by_byte(0.5)],
    ids=["silence", "a byte at a time"],
)
def test_deadline_ends_a_request_without_a_response(
    pipeline_of: PipelineFactory, vendor: LoopbackVendor, play: Play
) -> None:
    """Neither silence nor a slow response holds a request past its timeout or its lease."""
    pipeline = pipeline_of(request_timeout_s=2.0)
    vendor.script(play)
    pipeline.accept(identities(10))
    assert elapsed_s(pipeline.step) < SOON_S
    assert pipeline.status().answers == {"ambiguous": 1}
    pipeline_of().deliver()
    assert vendor.taken == dict.fromkeys(identities(10), 2)
    assert pipeline.events.totals["ambiguous"] == 10


def test_deadline_ends_a_slow_write_without_ambiguity(
    pipeline_of: PipelineFactory, vendor: LoopbackVendor
) -> None:
    """A vendor that reads slowly does not hold us; without the end nothing is ambiguous."""
    large = {"batch_max_bytes": 64 * 1024 * 1024}
    pipeline = pipeline_of(request_timeout_s=1.0, **large)
    vendor.script(fault_scripts.read_slowly(65_536, 0.2))
    pipeline.accept(identities(1000), LARGE)
    assert elapsed_s(pipeline.step) < SOON_S
    assert pipeline.status().answers == {"unreachable": 1}
    pipeline_of(**large).deliver()
    assert vendor.taken == dict.fromkeys(identities(1000), 1)


def test_truncated_error_response_counts_by_its_status(
    pipeline: Pipeline, vendor: LoopbackVendor
) -> None:
    """A complete status is enough: half a 503 is a 503, and nothing is ambiguous."""
    vendor.script(fault_scripts.half_a_refusal(503), fault_scripts.half_a_refusal(429))
    pipeline.accept(identities(10))
    pipeline.deliver()
    assert pipeline.status().answers == {"503": 1, "429": 1, "200": 1}
    assert pipeline.events.totals["ambiguous"] == 0


def test_untrusted_certificate_gets_no_bytes(
    pipeline_of: PipelineFactory, self_signed: LoopbackVendor
) -> None:
    """Without a trusted certificate no byte is sent; the records wait, untouched."""
    pipeline = pipeline_of(to=self_signed)
    pipeline.accept(identities(10))
    pipeline.step()
    [batch] = pipeline.batches()
    assert "certificate" in batch["error"].lower()
    assert batch["attempt"] == 0
    assert self_signed.requests == []
    assert pipeline.events.totals["ambiguous"] == 0


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirect_parks_the_destination(
    pipeline: Pipeline, vendor: LoopbackVendor, other: LoopbackVendor, code: int
) -> None:
    """Another address never sees credentials: the destination is parked instead."""
    vendor.script(fault_scripts.redirect(code, other.base_url))
    pipeline.accept(identities(10))
    pipeline.step()
    assert vendor.requests[0].headers["x-clevertap-passcode"] == PASSCODE
    assert other.requests == []
    status = pipeline.status()
    assert status.state == "parked"
    assert str(code) in (status.reason or "")


def test_idle_connection_closed_by_the_vendor_is_replaced(
    pipeline: Pipeline, vendor: LoopbackVendor
) -> None:
    """A kept connection that the vendor closed costs no attempt and makes nothing ambiguous."""
    pipeline.accept(["first"])
    pipeline.deliver()
    vendor.refuse()
    vendor.open()
    pipeline.accept(["second"])
    pipeline.deliver()
    assert pipeline.status().answers == {"200": 2}
    assert pipeline.events.totals["ambiguous"] == 0
