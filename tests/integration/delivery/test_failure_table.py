"""What becomes of each record, for each answer a vendor can give: the rows of the outcome table."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from support import fault_scripts
from support.pipeline import Pipeline, PipelineFactory, identities
from support.vendor import (
    MISCELLANEOUS,
    RESTRICTED_EVENT,
    Exchange,
    LoopbackVendor,
    Record,
    failure,
)
from worker.vendors.protocol import Kind

UNDOCUMENTED = 799


def taken_once(vendor: LoopbackVendor, names: list[str]) -> None:
    """Each of these records, and no other, is in the vendor's ledger exactly once."""
    assert vendor.taken == dict.fromkeys(names, 1)


def test_success_delivers_each_record_once(pipeline: Pipeline, vendor: LoopbackVendor) -> None:
    """A complete success leaves nothing behind, and each record is at the vendor once."""
    names = identities(2500)
    pipeline.accept(names)
    pipeline.deliver()
    taken_once(vendor, names)
    assert [each.records for each in vendor.requests] == [1000, 1000, 500]
    assert pipeline.events.totals["delivered"] == 2500
    assert pipeline.batches() == []


def test_partial_success_buries_exactly_the_named_records(
    pipeline: Pipeline, vendor: LoopbackVendor
) -> None:
    """Only the named records die, with the vendor's code and text."""
    names = identities(100)
    for name in ("i0", "i37", "i99"):
        vendor.prescribe(name, always=RESTRICTED_EVENT)
    pipeline.accept(names)
    pipeline.deliver()
    dead = pipeline.dead()
    assert [each["identity"] for each in dead] == ["i0", "i37", "i99"]
    assert {(each["reason"], each["code"], each["error"]) for each in dead} == {
        ("refused", "513", "No.")
    }
    taken_once(vendor, [name for name in names if name not in ("i0", "i37", "i99")])
    assert len(vendor.requests) == 1


def test_status_200_with_all_rejected_buries_all(
    pipeline_of: PipelineFactory, vendor: LoopbackVendor
) -> None:
    """HTTP 200 alone is not a success: if all are rejected, all die."""
    pipeline = pipeline_of(flood_window=1000)
    for name in identities(10):
        vendor.prescribe(name, always=RESTRICTED_EVENT)
    pipeline.accept(identities(10))
    pipeline.deliver()
    assert [each["identity"] for each in pipeline.dead()] == identities(10)
    assert not vendor.taken


def test_code_555_retries_only_its_records(pipeline: Pipeline, vendor: LoopbackVendor) -> None:
    """Only the records with a server error are sent again, and none enters the ledger twice."""
    names = identities(1000)
    for name in ("i3", "i500", "i999"):
        vendor.prescribe(name, MISCELLANEOUS, MISCELLANEOUS)
    pipeline.accept(names)
    pipeline.deliver()
    taken_once(vendor, names)
    assert [list(each.identities) for each in vendor.requests[1:]] == [["i3", "i500", "i999"]] * 2
    totals = pipeline.events.totals
    assert (totals["delivered"], totals["dead_lettered"], totals["ambiguous"]) == (1000, 0, 0)


@pytest.mark.parametrize(
    ("code", "reason"), [(MISCELLANEOUS, "server_error"), (UNDOCUMENTED, "unknown_code")]
)
def test_record_after_max_attempts_dies_with_its_reason(
    pipeline: Pipeline, vendor: LoopbackVendor, code: int, reason: str
) -> None:
    """A transient or unknown code is retried max_attempts times, then the record is dead."""
    vendor.prescribe("i1", always=code)
    pipeline.accept(identities(3))
    pipeline.deliver()
    [dead] = pipeline.dead()
    assert (dead["identity"], dead["reason"], dead["code"]) == ("i1", reason, str(code))
    assert dead["attempts"] == str(pipeline.destination.max_attempts) == "5"
    assert len(vendor.requests) == 5
    taken_once(vendor, ["i0", "i2"])


NOTHING_SAID = {"status": "fail", "processed": 0, "unprocessed": []}
GARBLED = {
    "nothing processed, nothing unprocessed": NOTHING_SAID,
    "too few": {"status": "success", "processed": 7, "unprocessed": []},
    "too many": {"status": "success", "processed": 11, "unprocessed": []},
    "no counts": {"status": "success"},
    "html": b"<html>Welcome to the hotel's network</html>",
    "empty": b"",
    "an array": b"[1, 2]",
    "broken": b'{ "status" : "success" , "proce',
}


@pytest.mark.parametrize("content", GARBLED.values(), ids=GARBLED.keys())
def test_inconclusive_response_is_retried_as_ambiguous(
    pipeline: Pipeline, vendor: LoopbackVendor, content: bytes | dict[str, object]
) -> None:
    """A 200 that confirms nothing is not a delivery: the batch is sent again."""
    vendor.script(fault_scripts.body(content))
    pipeline.accept(identities(10))
    pipeline.deliver()
    taken_once(vendor, identities(10))
    totals = pipeline.events.totals
    assert (totals["delivered"], totals["ambiguous"], totals["attempts"]) == (10, 10, 2)


@pytest.mark.parametrize("content", [NOTHING_SAID, b"nonsense"], ids=["empty", "nonsense"])
def test_inconclusive_responses_end_as_unconfirmed(
    pipeline: Pipeline, vendor: LoopbackVendor, content: bytes | dict[str, object]
) -> None:
    """After max_attempts of them the records are dead as unconfirmed, and none is lost."""
    vendor.usual = fault_scripts.body(content, takes=True)
    pipeline.accept(identities(10))
    pipeline.deliver()
    assert {each["reason"] for each in pipeline.dead()} == {"unconfirmed"}
    assert len(vendor.requests) == 5
    # What is dead is not sent again: of five tries, four could double.
    assert pipeline.events.totals["ambiguous"] == 40


def test_inconclusive_response_with_dead_letter_setting_buries(
    pipeline_of: PipelineFactory, vendor: LoopbackVendor
) -> None:
    """If the destination is set so, an inconclusive response makes dead letters immediately."""
    pipeline = pipeline_of(ambiguous="dead_letter")
    vendor.usual = fault_scripts.body(b"nonsense", takes=True)
    pipeline.accept(identities(10))
    pipeline.deliver()
    assert {each["reason"] for each in pipeline.dead()} == {"unconfirmed"}
    taken_once(vendor, identities(10))


def test_overtaken_update_with_dead_letter_setting_is_buried(
    pipeline_of: PipelineFactory, vendor: LoopbackVendor
) -> None:
    """An overtaken update is left to an operator, accepted ones stay so, and the flood breaker does
    not count it."""
    pipeline = pipeline_of(ambiguous="dead_letter", flood_window=1, flood_share=0.0)
    pipeline.accept_profiles(["ann", "ann", "bob"])
    vendor.prescribe("ann", 555)
    pipeline.deliver()
    assert vendor.taken == {"ann": 1, "bob": 1}
    (dead,) = pipeline.dead(Kind.PROFILE)
    assert (dead["reason"], dead["code"]) == ("overtaken", "555")
    assert pipeline.status().state == "running"
    assert pipeline.status().kinds[Kind.PROFILE].totals["ambiguous"] == 0


def test_400_isolates_one_record_of_a_thousand(pipeline: Pipeline, vendor: LoopbackVendor) -> None:
    """A vendor that answers 400 to the whole gets at most 21 requests; 999 are delivered."""
    poison = "i613"
    vendor.whole = lambda records: (
        (400, "Malformed request") if any(r["identity"] == poison for r in records) else None
    )
    names = identities(1000)
    pipeline.accept(names)
    pipeline.deliver()
    [dead] = pipeline.dead()
    assert (dead["identity"], dead["reason"], dead["code"]) == (poison, "refused", "400")
    assert dead["error"] == "Malformed request"
    taken_once(vendor, [name for name in names if name != poison])
    assert len(vendor.requests) <= 21
    assert pipeline.state("status") in (None, "running")


def test_split_keeps_the_order_of_a_partition(pipeline: Pipeline, vendor: LoopbackVendor) -> None:
    """Profiles of one person arrive in order, although their batch was halved repeatedly."""
    vendor.whole = lambda records: (
        (400, "Malformed request")
        if any(r["profileData"]["Number"] in (20, 71) for r in records)
        else None
    )
    seen: list[int] = []
    take = vendor.take

    def note(records: Sequence[Record], *, dry_run: bool = False) -> bytes:
        seen.extend(record["profileData"]["Number"] for record in records)
        return take(records, dry_run=dry_run)

    vendor.take = note  # type: ignore[method-assign] # it listens, and changes nothing
    pipeline.accept_profiles(["jack"] * 100)
    pipeline.deliver()
    assert seen == [number for number in range(100) if number not in (20, 71)]
    assert len(pipeline.dead("profile")) == 2


def test_413_lowers_the_batch_size(pipeline: Pipeline, vendor: LoopbackVendor) -> None:
    """A vendor that accepts 100 kB is rarely sent more once it has said so."""
    most = 100_000
    filler = "x" * 800
    names = identities(2000)
    pipeline.accept(names, filler)

    def limited(exchange: Exchange) -> None:
        records = exchange.records()
        if exchange.noted.bytes > most:
            exchange.answer(413, failure(413, "Request Entity Too Large"))
        else:
            exchange.answer(200, vendor.take(records))

    vendor.usual = limited
    pipeline.deliver()
    taken_once(vendor, names)
    lowered = int(pipeline.state("max_bytes") or 0)
    assert most // 2 <= lowered <= most * 2.2
    # The first batch was halved until it fitted. After that, one request in thirty asks for more.
    first_batch = 15
    assert vendor.answers()[413] <= first_batch + len(vendor.requests) / 25
    too_large = [each for each in vendor.requests if each.bytes > most]
    assert len(too_large) == vendor.answers()[413]


def test_413_limit_grows_again_after_successes(pipeline: Pipeline, vendor: LoopbackVendor) -> None:
    """After a run of successes batches grow again until they are as full as before."""
    vendor.script(fault_scripts.status(413), fault_scripts.status(413))
    names = identities(60_000)
    for first in range(0, len(names), 1000):
        pipeline.accept(names[first : first + 1000])
    pipeline.deliver()
    taken_once(vendor, names)
    assert vendor.requests[-2].records == 1000
    assert pipeline.status().answers["413"] == 2


def test_413_for_a_larger_batch_does_not_raise_the_limit(
    pipeline: Pipeline, vendor: LoopbackVendor
) -> None:
    """Of concurrent batches, the smallest limit wins."""
    vendor.script(fault_scripts.status(413), fault_scripts.status(413))
    pipeline.accept(identities(10), "x" * 1000)
    small = pipeline.buffer.claim(begun=True)
    pipeline.accept(identities(1000, "j"), "x" * 1000)
    large = pipeline.buffer.claim(begun=True)
    assert small is not None
    assert large is not None
    pipeline.deliverer.deliver(small)
    lowered = pipeline.state("max_bytes")
    pipeline.deliverer.deliver(large)
    assert pipeline.state("max_bytes") == lowered
    pipeline.deliver()


def test_413_isolates_a_record_that_is_too_large(
    pipeline: Pipeline, vendor: LoopbackVendor
) -> None:
    """A record that fits in no request is isolated, and its neighbours are delivered."""
    vendor.whole = lambda records: (
        (413, "Too large") if any(r["identity"] == "i5" for r in records) else None
    )
    pipeline.accept(identities(16))
    pipeline.deliver()
    [dead] = pipeline.dead()
    assert (dead["identity"], dead["reason"], dead["code"]) == ("i5", "too_large", "413")
    # It was the record and not the batches: the next ones are as full as ever.
    assert pipeline.state("max_bytes") is None
    taken_once(vendor, [name for name in identities(16) if name != "i5"])


def test_413_before_the_body_was_read_is_read(
    pipeline_of: PipelineFactory, vendor: LoopbackVendor
) -> None:
    """The response of a server that answers 413 after the headers and closes is read anyway."""
    pipeline = pipeline_of(batch_max_bytes=64 * 1024 * 1024)
    vendor.script(fault_scripts.too_large_early)
    pipeline.accept(identities(1000), "x" * 8000)
    pipeline.deliver()
    taken_once(vendor, identities(1000))
    assert pipeline.status().answers == {"413": 1, "200": 2}


@pytest.mark.parametrize("code", [500, 502, 503, 504, 408])
def test_5xx_uses_no_attempt(pipeline: Pipeline, vendor: LoopbackVendor, code: int) -> None:
    """The batch is sent again unchanged, as often as needed, and is not ambiguous."""
    vendor.script(*[fault_scripts.status(code)] * 7)
    pipeline.accept(identities(10))
    pipeline.deliver(until=lambda: len(vendor.requests) == 7)
    [batch] = pipeline.batches()
    assert batch["attempt"] == 0
    pipeline.deliver()
    taken_once(vendor, identities(10))
    totals = pipeline.events.totals
    assert (totals["ambiguous"], totals["attempts"], totals["dead_lettered"]) == (0, 8, 0)


def test_429_uses_no_attempt_and_halves_the_concurrency(
    pipeline_of: PipelineFactory, vendor: LoopbackVendor
) -> None:
    """Too many requests are not the fault of the batch; the destination sends fewer."""
    pipeline = pipeline_of(concurrency=8)
    vendor.script(fault_scripts.status(429))
    pipeline.accept(identities(10))
    pipeline.step()
    [batch] = pipeline.batches()
    assert batch["attempt"] == 0
    assert pipeline.status().concurrency == 4
    pipeline.deliver()
    taken_once(vendor, identities(10))


def test_status_in_a_200_body_counts(pipeline: Pipeline, vendor: LoopbackVendor) -> None:
    """A 200 with a body that says 429 for the whole request is a 429."""
    vendor.script(fault_scripts.body(failure(429, "Too many concurrent requests")))
    pipeline.accept(identities(10))
    pipeline.step()
    assert pipeline.batches()[0]["attempt"] == 0
    pipeline.deliver()
    taken_once(vendor, identities(10))


def test_batch_older_than_the_horizon_expires(pipeline: Pipeline, vendor: LoopbackVendor) -> None:
    """A batch that has failed for a day is dead as expired at its next failure, not before."""
    vendor.script(*[fault_scripts.status(503)] * 2)
    pipeline.accept(identities(10))
    pipeline.step()
    pipeline.age(pipeline.destination.retry_horizon_s - 60)
    pipeline.deliver(until=lambda: len(vendor.requests) == 2)
    assert pipeline.dead() == []
    pipeline.age(60)
    vendor.script(fault_scripts.status(503))
    pipeline.deliver()
    dead = pipeline.dead()
    assert [each["identity"] for each in dead] == identities(10)
    assert {(each["reason"], each["code"]) for each in dead} == {("expired", "503")}
    assert not vendor.taken
    assert pipeline.state("status") in (None, "running"), "expired records are not a flood"


def test_batch_older_than_the_horizon_may_still_succeed(
    pipeline: Pipeline, vendor: LoopbackVendor
) -> None:
    """The horizon ends retries, but does not prevent the attempt that works."""
    vendor.script(fault_scripts.status(503))
    pipeline.accept(identities(10))
    pipeline.step()
    pipeline.age(2 * pipeline.destination.retry_horizon_s)
    pipeline.deliver()
    taken_once(vendor, identities(10))


def fail_on(vendor: LoopbackVendor, identity: str) -> None:
    """Answer 500 to each request that has a record of this identity."""
    vendor.whole = lambda records: (
        (500, "Oops") if any(each["identity"] == identity for each in records) else None
    )


def test_failing_batch_does_not_block_others(
    pipeline_of: PipelineFactory, vendor: LoopbackVendor
) -> None:
    """A record that makes the vendor answer 500 delays its own batch, not the destination."""
    pipeline = pipeline_of(backoff_cap_s=300.0, backoff_base_s=0.001)
    fail_on(vendor, "poison")
    pipeline.accept(["poison"])
    pipeline.step()
    pipeline.age(3600)
    pipeline.step()
    names = identities(20_000)
    pipeline.accept(names)
    pipeline.deliver(until=lambda: pipeline.open == 1)
    taken_once(vendor, names)
    assert vendor.answers()[500] <= 5


def test_record_that_causes_5xx_is_isolated(
    pipeline_of: PipelineFactory, vendor: LoopbackVendor
) -> None:
    """The others of its batch are delivered soon after an hour; it alone expires in the end."""
    pipeline = pipeline_of(backoff_cap_s=0.02, backoff_base_s=0.001)
    fail_on(vendor, "i77")
    pipeline.accept(identities(1000))
    pipeline.deliver(until=lambda: vendor.answers().get(500, 0) >= 3)
    assert not vendor.taken, "young, the batch is left as it is"
    pipeline.age(3600)
    pipeline.accept(identities(2000)[1000:])
    pipeline.deliver(until=lambda: pipeline.open == 1)
    taken_once(vendor, [name for name in identities(2000) if name != "i77"])
    pipeline.age(pipeline.destination.retry_horizon_s)
    pipeline.deliver()
    [dead] = pipeline.dead()
    assert (dead["identity"], dead["reason"], dead["code"]) == ("i77", "expired", "500")


def test_outage_does_not_split_batches(
    pipeline_of: PipelineFactory, vendor: LoopbackVendor
) -> None:
    """While nothing succeeds no batch is suspected, however old: all are sent again unchanged."""
    pipeline = pipeline_of(backoff_cap_s=0.02, backoff_base_s=0.001)
    vendor.script(*[fault_scripts.status(503)] * 40)
    pipeline.accept(identities(3000))
    pipeline.step()
    pipeline.age(7200)
    pipeline.deliver(until=lambda: len(vendor.requests) == 40)
    pipeline.deliver()
    taken_once(vendor, identities(3000))
    assert {each.records for each in vendor.requests} == {1000}


def test_failures_contain_no_secrets(pipeline: Pipeline, vendor: LoopbackVendor) -> None:
    """Nothing stored about a failure, including dead letters, contains our credentials."""
    vendor.script(
        fault_scripts.status(401),
        fault_scripts.status(503),
        fault_scripts.reset_after_all,
        fault_scripts.body(b"x"),
    )
    vendor.prescribe("i0", always=RESTRICTED_EVENT)
    pipeline.accept(identities(4))
    pipeline.step()
    pipeline.buffer.unpark()
    pipeline.deliver()
    written = json.dumps([pipeline.dead(), pipeline.journal()])
    assert "503" in written
    assert "s3cret" not in written
