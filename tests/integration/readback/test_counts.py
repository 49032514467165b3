"""Counts: against the sandbox over real sockets, and against a vendor that a test scripts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.environment import environment
from support.reading import DAY, NAME, account, environment_of, fill, paths, says
from support.vendor import Exchange, LoopbackVendor
from worker.errors import CredentialsRefused, InvalidQuery, VendorError
from worker.readback.client import CONCURRENCY, reading
from worker.readback.counts import MAX_RESTARTS, POLLS, count, count_all, count_one
from worker.readback.queries import CountCondition, CountQuery
from worker.sandbox.server import Running, running
from worker.sandbox.settings import SandboxSettings

QUERY = CountQuery(NAME, int(DAY), int(DAY))
PARTIAL = {"status": "partial", "req_id": 384649162721759}
LOST = {"status": "fail", "error": "invalid request id", "code": 400}


@pytest.fixture
def sandbox() -> Iterator[Running]:
    """A sandbox that says `partial` three times before each count."""
    with running(SandboxSettings(count_partials=3)) as started:
        yield started


def counted(vendor: LoopbackVendor) -> int:
    """The scripted vendor's count of today."""
    return count(NAME, DAY, DAY, destination=account(vendor.base_url))


def test_count_one_partial_three_times_polls_until_counted(sandbox: Running) -> None:
    """Polls come at the interval of the settings until the number is there."""
    fill(sandbox, 123)
    waits: list[float] = []
    with reading(account(sandbox.url, count_poll_s=30.0), sleep=waits.append) as reader:
        assert count_one(reader, QUERY) == 123
    assert waits == [30.0, 30.0, 30.0]


def test_count_conditions_are_sent(sandbox: Running) -> None:
    """Every condition must hold."""
    fill(sandbox, 100)
    filters = [CountCondition.parse("n:greater_than:10"), CountCondition.parse("n:less_than:20")]
    assert count(NAME, DAY, DAY, filters, destination=account(sandbox.url)) == 9


def test_count_partial_polls_by_request_id(vendor: LoopbackVendor) -> None:
    """One POST, then GETs with the id, even if a poll's response omits it."""
    vendor.script(
        says(PARTIAL), says({"status": "partial"}), says({"status": "success", "count": 7})
    )
    assert counted(vendor) == 7
    polled = "/1/counts/events.json?req_id=384649162721759"
    assert paths(vendor) == ["/1/counts/events.json", polled, polled]


def test_count_partial_with_a_number_is_polled_on(vendor: LoopbackVendor) -> None:
    """The number counted so far is not the result."""
    vendor.script(says(PARTIAL | {"count": 3}), says({"status": "partial", "count": 5}))
    vendor.script(says({"status": "success", "count": 7}))
    assert counted(vendor) == 7
    vendor.script(says({"count": 9}))
    assert counted(vendor) == 9


@pytest.mark.parametrize("status", [200, 400])
def test_count_forgotten_request_id_restarts(vendor: LoopbackVendor, status: int) -> None:
    """If the vendor forgets the id, the count starts again and comes out right."""
    vendor.script(says(PARTIAL), says(LOST, status), says(PARTIAL | {"req_id": 2}))
    vendor.script(says({"status": "success", "count": 7138}))
    assert counted(vendor) == 7138
    assert paths(vendor)[-1].endswith("?req_id=2")


def test_count_always_forgotten_raises(vendor: LoopbackVendor) -> None:
    """Restarts are bounded, and the error names the query."""
    for _ in range(MAX_RESTARTS + 1):
        vendor.script(says(PARTIAL), says(LOST))
    with pytest.raises(VendorError, match=rf"{NAME}, {DAY} to {DAY}: .*lost the request 4 times"):
        counted(vendor)


def test_count_one_always_partial_raises(vendor: LoopbackVendor) -> None:
    """Polls are bounded."""
    vendor.usual = says(PARTIAL)
    with (
        reading(account(vendor.base_url), sleep=lambda _: None) as reader,
        pytest.raises(VendorError, match=f"not counted after {POLLS} polls"),
    ):
        count_one(reader, QUERY)


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (
            {"status": "fail", "error": "Invalid date", "code": 4002},
            200,
            "Invalid date .*code 4002",
        ),
        ({"status": "fail", "error": "Malformed request", "code": 400}, 400, "Malformed request"),
        ({"status": "fail", "error": '["Invalid event : X"]'}, 200, "Invalid event : X"),
        ({"status": "fail"}, 200, "no reason given"),
        ({"status": "success"}, 200, "no count"),
        ({"status": "success", "count": "many"}, 200, "no count"),
        ({"status": "partial"}, 200, "neither count nor req_id"),
        (b"<html>", 200, "failed 6 times"),
        (b"", 500, "failed 6 times"),
    ],
)
def test_count_failure_raises_its_reason(
    vendor: LoopbackVendor, body: Any, status: int, reason: str
) -> None:
    """The error has the reason, in whatever shape the vendor sends it."""
    vendor.usual = says(body, status)
    with pytest.raises(VendorError, match=reason):
        counted(vendor)


def test_count_all_refused_credentials_end_at_once(vendor: LoopbackVendor) -> None:
    """A refused passcode is not sent a hundred times."""
    vendor.usual = says({"status": "fail", "error": "Passcode Invalid", "code": 401}, 401)
    with reading(account(vendor.base_url)) as reader, pytest.raises(CredentialsRefused):
        count_all(reader, [QUERY] * 100)
    assert len(vendor.requests) <= 2 * CONCURRENCY


def test_count_all_interrupted_ends_requests_in_flight(vendor: LoopbackVendor) -> None:
    """Ctrl-C ends the requests in flight at once, not at their timeout."""
    interrupted = threading.Event()

    def play(exchange: Exchange) -> None:
        exchange.head()
        if len(vendor.requests) == CONCURRENCY and not interrupted.is_set():
            interrupted.set()
            os.kill(os.getpid(), signal.SIGINT)
        exchange.silence()

    vendor.usual = play
    with (
        reading(account(vendor.base_url, request_timeout_s=3600.0)) as reader,
        pytest.raises(KeyboardInterrupt),
    ):
        count_all(reader, [QUERY] * 10)
    assert len(vendor.requests) == CONCURRENCY


def test_count_all_shares_the_wait_within_the_limit(sandbox: Running) -> None:
    """Twenty counts are right and in order, with at most three requests in flight."""
    for number in range(20):
        fill(sandbox, number, f"Event {number}")
    sandbox.state.faults.add({"kind": "delay", "delay_ms": 20})
    queries = [CountQuery(f"event{number}", int(DAY), int(DAY)) for number in range(20)]
    with reading(account(sandbox.url)) as reader:
        assert count_all(reader, queries) == list(range(20))
    assert sandbox.state.reads.highest == CONCURRENCY
    assert not sandbox.state.ledger.of("clevertap").requests[429]


def test_count_all_one_failure_leaves_the_others(vendor: LoopbackVendor) -> None:
    """A refused query yields its error, the others their numbers."""
    refused = says({"status": "fail", "error": "Invalid event", "code": 400}, 400)
    vendor.usual = says({"status": "success", "count": 5})
    vendor.script(refused)
    with reading(account(vendor.base_url)) as reader:
        first, *others = count_all(reader, [QUERY] * 4)
    found = [first, *others]
    assert sum(isinstance(each, VendorError) for each in found) == 1
    assert [each for each in found if not isinstance(each, VendorError)] == [5, 5, 5]


def ingest(sandbox: Running, *args: str) -> subprocess.CompletedProcess[str]:
    """Run `ingest count` as a user does."""
    command = [str(Path(sys.prefix, "bin", "ingest")), "count", *args]
    env = environment(environment_of(sandbox.url))
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_count_command_prints_the_number(sandbox: Running) -> None:
    """Standard output has the number or one JSON object; an invalid query exits with 2."""
    fill(sandbox, 77)
    days = ("--from", DAY, "--to", DAY)
    assert ingest(sandbox, NAME, *days).stdout == "77\n"
    reported = json.loads(ingest(sandbox, NAME, *days, "--where", "n:equals:5", "--json").stdout)
    assert reported == {
        "destination": "clevertap",
        "event": NAME,
        "from": int(DAY),
        "to": int(DAY),
        "count": 1,
    }
    for wrong in (("--where", "n"), ("--destination", "bloomreach"), ("--destination", "none")):
        assert ingest(sandbox, NAME, *days, *wrong).returncode == 2
    refused = ingest(sandbox, NAME, *days, "--where", "n:resembles:5")
    assert refused.returncode == 1
    assert "unknown operator" in refused.stderr


def test_count_wrong_range_raises_before_any_request() -> None:
    """Days are checked before a connection is made."""
    with pytest.raises(InvalidQuery):
        count(NAME, 20260102, 20260101, destination=account("http://127.0.0.1:9"))
