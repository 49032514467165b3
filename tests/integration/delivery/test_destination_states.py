"""What an answer teaches the destination: to wait, to stop, and to begin again."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise

import pytest

from support import fault_scripts
from support.pipeline import Pipeline, PipelineFactory, identities
from support.polling import poll_until
from support.vendor import RESTRICTED_EVENT, LoopbackVendor

DENIALS = [401, 402, 403, 404, 405]


def in_seconds(seconds: int) -> dict[str, str]:
    """Retry-After as a number."""
    return {"Retry-After": str(seconds)}


def as_date(seconds: int) -> dict[str, str]:
    """Retry-After as a date, with the vendor's clock a day ahead of ours."""
    vendors_now = datetime.now(UTC) + timedelta(days=1)
    return {
        "Date": format_datetime(vendors_now, usegmt=True),
        "Retry-After": format_datetime(vendors_now + timedelta(seconds=seconds), usegmt=True),
    }


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize("form", [in_seconds, as_date])
def test_retry_after_delays_the_whole_destination(
    pipeline: Pipeline, vendor: LoopbackVendor, code: int, form: type[object]
) -> None:
    """Nothing for the destination is sent before Retry-After, in seconds or as a date."""
    wish_s = 2
    vendor.script(fault_scripts.status(code, headers=form(wish_s)))  # type: ignore[call-arg,arg-type] # functions
    pipeline.accept(identities(10))
    pipeline.step()
    pipeline.accept(identities(10, "new"))
    answered_s = vendor.requests[0].ended_s
    seconds, microseconds = pipeline.client.time()
    left_s = float(pipeline.state("open_at") or 0) / 1000 - seconds - microseconds / 1e6
    assert left_s < wish_s + 2
    pipeline.deliver()
    # A date is whole seconds, so up to one of them is lost on the way.
    assert vendor.requests[1].began_s - answered_s >= wish_s - 1.05
    assert vendor.taken == dict.fromkeys([*identities(10), *identities(10, "new")], 1)


def test_retry_after_is_not_ended_by_an_earlier_success(
    pipeline: Pipeline, vendor: LoopbackVendor
) -> None:
    """A request that was already in flight does not cancel a Retry-After."""
    pipeline.accept(identities(1000))
    early = pipeline.buffer.claim(begun=True)
    pipeline.accept(identities(1000, "j"))
    late = pipeline.buffer.claim(begun=True)
    assert early is not None
    assert late is not None
    vendor.script(fault_scripts.status(503, headers=in_seconds(30)))
    pipeline.deliverer.deliver(late)
    pipeline.deliverer.deliver(early)
    pipeline.accept(identities(10, "k"))
    assert pipeline.step() is None
    assert len(vendor.requests) == 2


@pytest.mark.parametrize("code", DENIALS)
def test_rejected_credentials_park_without_using_attempts(
    pipeline: Pipeline, vendor: LoopbackVendor, code: int
) -> None:
    """Rejected credentials or a wrong address stop it; no record dies or uses an attempt."""
    vendor.usual = fault_scripts.status(code, "Account ID is not valid")
    pipeline.accept(identities(2500))
    pipeline.step()
    assert pipeline.step() is None
    status = pipeline.status()
    assert status.state == "parked"
    assert status.reason is not None
    assert status.reason.startswith(f"{code}: Account ID is not valid; check its credentials")
    assert [batch["attempt"] for batch in pipeline.batches()] == [0]
    assert status.kinds["event"].open == 2500
    assert len(vendor.requests) == 1


def test_parking_returns_requests_in_flight_untouched(
    pipeline: Pipeline, vendor: LoopbackVendor
) -> None:
    """Every request that was denied at the same time waits, untouched, and is delivered later."""
    names = identities(3000)
    pipeline.accept(names)
    claims = [pipeline.buffer.claim(begun=True) for _ in range(3)]
    vendor.script(*[fault_scripts.status(401)] * 3)
    for claim in claims:
        assert claim is not None
        pipeline.deliverer.deliver(claim)
    assert pipeline.status().state == "parked"
    assert pipeline.deliverer.probe()
    pipeline.deliver()
    assert vendor.taken == dict.fromkeys(names, 1)
    assert pipeline.dead() == []


def test_probe_does_a_dry_run_and_unparks(
    pipeline_of: PipelineFactory, vendor: LoopbackVendor
) -> None:
    """A probe stores nothing at the vendor; if denied, the destination stays parked."""
    pipeline = pipeline_of(probe_interval_s=0.05)
    vendor.usual = fault_scripts.status(401)
    pipeline.accept(identities(10))
    pipeline.step()
    poll_until(lambda: pipeline.drain.tick() or pipeline.probes, what="a tick asks for a probe")
    assert not pipeline.deliverer.probe()
    assert pipeline.status().state == "parked"
    vendor.usual = LoopbackVendor().usual
    assert pipeline.deliverer.probe()
    assert [each.dry_run for each in vendor.requests] == [False, True, True]
    assert not vendor.taken
    pipeline.deliver()
    assert vendor.taken == dict.fromkeys(identities(10), 1)


def test_probe_is_requested_once_per_interval(pipeline: Pipeline, vendor: LoopbackVendor) -> None:
    """Many ticks request one probe a minute, and none while the destination runs."""
    pipeline.drain.tick()
    vendor.script(fault_scripts.status(403))
    pipeline.accept(identities(1))
    pipeline.step()
    for _ in range(5):
        pipeline.drain.tick()
    assert pipeline.probes == 0


def test_probe_does_not_resume_a_paused_destination(
    pipeline: Pipeline, vendor: LoopbackVendor
) -> None:
    """A successful probe does not end a pause by an operator."""
    pipeline.buffer.pause("moving house")
    assert not pipeline.deliverer.probe()
    status = pipeline.status()
    assert (status.state, status.reason) == ("paused", "moving house")


@pytest.mark.parametrize("trouble", [429, 500, 400])
def test_probe_without_an_answer_keeps_it_parked(
    pipeline: Pipeline, vendor: LoopbackVendor, trouble: int
) -> None:
    """A busy or unavailable vendor says nothing about our credentials."""
    pipeline.buffer.park("401")
    vendor.script(fault_scripts.status(trouble))
    assert not pipeline.deliverer.probe()
    assert pipeline.status().state == "parked"


def test_pause_stops_and_resume_delivers_everything(
    pipeline: Pipeline, vendor: LoopbackVendor
) -> None:
    """While paused nothing is sent, including claimed batches; after resuming all is delivered."""
    names = identities(2000)
    pipeline.accept(names)
    waiting = pipeline.buffer.claim(begun=False)
    assert waiting is not None
    assert pipeline.buffer.pause("maintenance")
    assert pipeline.deliverer.run(waiting.batch, waiting.token, is_over=lambda: False).batches == 0
    assert pipeline.step() is None
    assert vendor.requests == []
    status = pipeline.status()
    assert (status.state, status.reason) == ("paused", "maintenance")
    assert pipeline.buffer.resume()
    pipeline.deliver()
    assert vendor.taken == dict.fromkeys(names, 1)
    assert pipeline.status().state == "running"


def test_pause_settles_requests_in_flight(pipeline: Pipeline, vendor: LoopbackVendor) -> None:
    """A pause loses no response: what the vendor accepted in the meantime is not sent again."""
    pipeline.accept(identities(10))
    claim = pipeline.buffer.claim(begun=True)
    assert claim is not None
    pipeline.buffer.pause("now")
    pipeline.deliverer.deliver(claim)
    assert pipeline.events.totals["delivered"] == 10


def test_flood_of_dead_letters_pauses_the_destination(
    pipeline_of: PipelineFactory, vendor: LoopbackVendor
) -> None:
    """If more than half of the last records are dead, it is our mistake, and it stops."""
    pipeline = pipeline_of(flood_window=100, flood_share=0.5)
    names = identities(5000)
    for name in names:
        vendor.prescribe(name, always=RESTRICTED_EVENT)
    pipeline.accept(names)
    pipeline.step()
    assert pipeline.step() is None
    status = pipeline.status()
    assert status.state == "paused"
    assert status.reason == "dead-letter flood: 1000 of the last 1000 records died"
    assert status.kinds["event"].dead == 1000
    assert status.kinds["event"].buffered == 4000


def test_flood_count_restarts_after_resume(
    pipeline_of: PipelineFactory, vendor: LoopbackVendor
) -> None:
    """After a resume the count starts again, so that the breaker does not trip immediately."""
    pipeline = pipeline_of(flood_window=100, flood_share=0.5)
    bad, good = identities(100, "bad"), identities(3000, "good")
    for name in bad:
        vendor.prescribe(name, always=RESTRICTED_EVENT)
    pipeline.accept(bad)
    pipeline.step()
    assert pipeline.status().state == "paused"
    pipeline.accept(good)
    pipeline.buffer.resume()
    pipeline.deliver()
    assert pipeline.status().state == "running"
    assert vendor.taken == dict.fromkeys(good, 1)


def test_dead_letters_below_the_flood_share_do_not_pause(
    pipeline_of: PipelineFactory, vendor: LoopbackVendor
) -> None:
    """Half of the records dead is bad, but not a flood."""
    pipeline = pipeline_of(flood_window=100, flood_share=0.5)
    names = identities(1000)
    for name in names[::2]:
        vendor.prescribe(name, always=RESTRICTED_EVENT)
    pipeline.accept(names)
    pipeline.deliver()
    assert pipeline.status().state == "running"
    assert len(pipeline.dead()) == 500


def test_backoff_grows_with_consecutive_failures(
    pipeline_of: PipelineFactory, vendor: LoopbackVendor
) -> None:
    """Failures without a success lengthen the wait up to its cap, one request at a time."""
    pipeline = pipeline_of(backoff_base_s=0.02, backoff_cap_s=0.3)
    pipeline.deliverer.random = lambda: 0.99
    vendor.usual = fault_scripts.status(503)
    pipeline.accept(identities(20_000))
    pipeline.deliver(until=lambda: len(vendor.requests) >= 9)
    began = [each.began_s for each in vendor.requests]
    pauses = [later - earlier for earlier, later in pairwise(began)]
    assert pauses[-1] >= 0.28
    assert all(pause >= 0.018 for pause in pauses[2:])
    assert vendor.most_under_way == 1
    vendor.usual = LoopbackVendor().usual
    pipeline.deliver()
    assert time.monotonic() - began[-1] < 60
    assert len(vendor.taken) == 20_000


def test_resume_ends_an_old_retry_after(pipeline: Pipeline, vendor: LoopbackVendor) -> None:
    """After a pause nothing waits for an old Retry-After; until then the status shows it."""
    vendor.script(fault_scripts.status(429, headers=in_seconds(3600)))
    pipeline.accept(identities(10))
    pipeline.step()
    assert re.search(r"retrying in (3600|35\d\d) s", str(pipeline.status().reason))
    pipeline.buffer.pause("look into it")
    pipeline.buffer.resume()
    pipeline.deliver()
    assert vendor.taken == dict.fromkeys(identities(10), 1)
    assert pipeline.status().reason is None
