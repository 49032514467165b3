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
    """A vendor whose certificate nobody vouches for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(SELF_SIGNED)
    with LoopbackVendor(tls=context) as running:
        yield running


def test_a_refused_connection_costs_nothing(pipeline: Pipeline, vendor: LoopbackVendor) -> None:
    """A vendor that refuses connections makes nothing ambiguous; back again, it gets all."""
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
def test_a_reset_before_the_last_byte_is_not_ambiguous(
    pipeline_of: PipelineFactory, vendor: LoopbackVendor, play: Play
) -> None:
    """A request whose end never left us cannot have been carried out: sent again, not counted."""
    pipeline = pipeline_of(batch_max_bytes=64 * 1024 * 1024)
    vendor.script(play)
    pipeline.accept(identities(1000), LARGE)
    pipeline.step()
    assert pipeline.status().answers == {"unreachable": 1}
    pipeline.deliver()
    assert vendor.taken == dict.fromkeys(identities(1000), 1)
    assert pipeline.events.totals["ambiguous"] == 0


@pytest.mark.parametrize("play", TAKEN.values(), ids=TAKEN.keys())
def test_what_breaks_after_the_last_byte_is_counted(
    pipeline: Pipeline, vendor: LoopbackVendor, play: Play
) -> None:
    """The vendor may have taken what it had whole: sent again, and every double is counted."""
    vendor.script(play)
    pipeline.accept(identities(10))
    pipeline.deliver()
    assert vendor.taken == dict.fromkeys(identities(10), 2)
    totals = pipeline.events.totals
    assert (totals["delivered"], totals["ambiguous"], totals["attempts"]) == (10, 10, 2)
    assert pipeline.status().answers == {"ambiguous": 1, "200": 1}


@pytest.mark.parametrize("play", TAKEN.values(), ids=TAKEN.keys())
def test_money_is_not_sent_twice(
    pipeline_of: PipelineFactory, vendor: LoopbackVendor, play: Play
) -> None:
    """Where the account asks it, what may have been taken becomes a dead letter, and no double."""
    pipeline = pipeline_of(ambiguous="dead_letter")
    vendor.script(play)
    pipeline.accept(identities(10))
    pipeline.deliver()
    assert vendor.taken == dict.fromkeys(identities(10), 1)
    assert [each["identity"] for each in pipeline.dead()] == identities(10)
    assert {each["reason"] for each in pipeline.dead()} == {"ambiguous"}
    assert pipeline.events.totals["ambiguous"] == 0
    assert pipeline.state("status") in (None, "running"), "the network's fault is no flood"


def test_money_is_not_sent_again_for_a_lost_worker(
    pipeline_of: PipelineFactory, vendor: LoopbackVendor
) -> None:
    """Where the account asks it, a batch whose worker did not come back is a dead letter too."""
    pipeline = pipeline_of(ambiguous="dead_letter", lease_s=0.001, request_timeout_s=0.0005)
    pipeline.accept(identities(10))
    assert pipeline.buffer.claim(begun=True)
    pipeline.deliver(until=lambda: pipeline.buffer.recover().died)
    pipeline.deliver()
    assert {each["reason"] for each in pipeline.dead()} == {"ambiguous"}
    assert vendor.requests == []


def test_money_that_never_left_us_is_sent_again(
    pipeline_of: PipelineFactory, vendor: LoopbackVendor
) -> None:
    """The choice for ambiguous records touches none that the vendor cannot have."""
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
def test_the_deadline_holds_whatever_the_vendor_does(
    pipeline_of: PipelineFactory, vendor: LoopbackVendor, play: Play
) -> None:
    """Neither silence nor a slow answer holds a request past its timeout, and so past its lease."""
    pipeline = pipeline_of(request_timeout_s=2.0)
    vendor.script(play)
    pipeline.accept(identities(10))
    assert elapsed_s(pipeline.step) < SOON_S
    assert pipeline.status().answers == {"ambiguous": 1}
    pipeline_of().deliver()
    assert vendor.taken == dict.fromkeys(identities(10), 2)
    assert pipeline.events.totals["ambiguous"] == 10


def test_the_deadline_holds_while_we_write(
    pipeline_of: PipelineFactory, vendor: LoopbackVendor
) -> None:
    """A vendor that reads slowly does not hold us; it lacks the end: nothing is ambiguous."""
    large = {"batch_max_bytes": 64 * 1024 * 1024}
    pipeline = pipeline_of(request_timeout_s=1.0, **large)
    vendor.script(fault_scripts.read_slowly(65_536, 0.2))
    pipeline.accept(identities(1000), LARGE)
    assert elapsed_s(pipeline.step) < SOON_S
    assert pipeline.status().answers == {"unreachable": 1}
    pipeline_of(**large).deliver()
    assert vendor.taken == dict.fromkeys(identities(1000), 1)


def test_a_refusal_that_breaks_off_is_still_a_refusal(
    pipeline: Pipeline, vendor: LoopbackVendor
) -> None:
    """A status that came whole tells enough: half a 503 is a 503, and nothing ambiguous."""
    vendor.script(fault_scripts.half_a_refusal(503), fault_scripts.half_a_refusal(429))
    pipeline.accept(identities(10))
    pipeline.deliver()
    assert pipeline.status().answers == {"503": 1, "429": 1, "200": 1}
    assert pipeline.events.totals["ambiguous"] == 0


def test_a_certificate_nobody_vouches_for_gets_nothing(
    pipeline_of: PipelineFactory, self_signed: LoopbackVendor
) -> None:
    """Without a certificate we trust no byte is sent; the records wait, untouched."""
    pipeline = pipeline_of(to=self_signed)
    pipeline.accept(identities(10))
    pipeline.step()
    [batch] = pipeline.batches()
    assert "certificate" in batch["error"].lower()
    assert batch["attempt"] == 0
    assert self_signed.requests == []
    assert pipeline.events.totals["ambiguous"] == 0


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_never_followed(
    pipeline: Pipeline, vendor: LoopbackVendor, other: LoopbackVendor, code: int
) -> None:
    """Another address never sees a credential: the destination is parked instead."""
    vendor.script(fault_scripts.redirect(code, other.base_url))
    pipeline.accept(identities(10))
    pipeline.step()
    assert vendor.requests[0].headers["x-clevertap-passcode"] == PASSCODE
    assert other.requests == []
    status = pipeline.status()
    assert status.state == "parked"
    assert str(code) in (status.reason or "")


def test_a_connection_that_died_while_idle_is_not_used(
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
