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


def test_a_count_that_is_partial_three_times_ends_right(sandbox: Running) -> None:
    """It is polled, at the interval the settings name, until the number is there."""
    fill(sandbox, 123)
    waits: list[float] = []
    with reading(account(sandbox.url, count_poll_s=30.0), sleep=waits.append) as reader:
        assert count_one(reader, QUERY) == 123
    assert waits == [30.0, 30.0, 30.0]


def test_conditions_reach_the_vendor(sandbox: Running) -> None:
    """Every condition has to hold."""
    fill(sandbox, 100)
    filters = [CountCondition.parse("n:greater_than:10"), CountCondition.parse("n:less_than:20")]
    assert count(NAME, DAY, DAY, filters, destination=account(sandbox.url)) == 9


def test_a_request_is_polled_by_its_id(vendor: LoopbackVendor) -> None:
    """One POST, then GETs that name the id, also one that says it with another answer."""
    vendor.script(
        says(PARTIAL), says({"status": "partial"}), says({"status": "success", "count": 7})
    )
    assert counted(vendor) == 7
    polled = "/1/counts/events.json?req_id=384649162721759"
    assert paths(vendor) == ["/1/counts/events.json", polled, polled]


def test_a_partial_count_is_not_the_count(vendor: LoopbackVendor) -> None:
    """What the vendor has counted so far is polled on, however often it names it."""
    vendor.script(says(PARTIAL | {"count": 3}), says({"status": "partial", "count": 5}))
    vendor.script(says({"status": "success", "count": 7}))
    assert counted(vendor) == 7
    vendor.script(says({"count": 9}))
    assert counted(vendor) == 9


@pytest.mark.parametrize("status", [200, 400])
def test_a_forgotten_request_is_asked_anew(vendor: LoopbackVendor, status: int) -> None:
    """A vendor that forgets the id is asked again from the start, and the count comes out right."""
    vendor.script(says(PARTIAL), says(LOST, status), says(PARTIAL | {"req_id": 2}))
    vendor.script(says({"status": "success", "count": 7138}))
    assert counted(vendor) == 7138
    assert paths(vendor)[-1].endswith("?req_id=2")


def test_a_vendor_that_always_forgets_is_given_up(vendor: LoopbackVendor) -> None:
    """Asking anew has a bound, and the error names the question."""
    for _ in range(MAX_RESTARTS + 1):
        vendor.script(says(PARTIAL), says(LOST))
    with pytest.raises(VendorError, match=rf"{NAME}, {DAY} to {DAY}: .*lost the request 4 times"):
        counted(vendor)


def test_a_count_that_never_ends_is_given_up(vendor: LoopbackVendor) -> None:
    """Polling has a bound."""
    vendor.usual = says(PARTIAL)
    with (
        reading(account(vendor.base_url), sleep=lambda _: None) as reader,
        pytest.raises(VendorError, match=f"not counted after {POLLS} polls"),
    ):
        count_one(reader, QUERY)


@pytest.mark.parametrize(
    ("body", "status", "told"),
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
def test_each_failure_is_told(vendor: LoopbackVendor, body: Any, status: int, told: str) -> None:
    """Whatever shape a failure has, the error says what it was."""
    vendor.usual = says(body, status)
    with pytest.raises(VendorError, match=told):
        counted(vendor)


def test_refused_credentials_end_many_counts_at_once(vendor: LoopbackVendor) -> None:
    """Nobody asks a hundred times with a passcode that is refused."""
    vendor.usual = says({"status": "fail", "error": "Passcode Invalid", "code": 401}, 401)
    with reading(account(vendor.base_url)) as reader, pytest.raises(CredentialsRefused):
        count_all(reader, [QUERY] * 100)
    assert len(vendor.requests) <= 2 * CONCURRENCY


def test_an_interrupt_does_not_wait_for_a_silent_vendor(vendor: LoopbackVendor) -> None:
    """Ctrl-C among many counts ends those under way at once, not at their timeout."""
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


def test_many_counts_share_the_wait(sandbox: Running) -> None:
    """Twenty counts are right and in order, and never more than three requests are under way: the
    sandbox would refuse a fourth."""
    for number in range(20):
        fill(sandbox, number, f"Event {number}")
    sandbox.state.faults.add({"kind": "delay", "delay_ms": 20})
    queries = [CountQuery(f"event{number}", int(DAY), int(DAY)) for number in range(20)]
    with reading(account(sandbox.url)) as reader:
        assert count_all(reader, queries) == list(range(20))
    assert sandbox.state.reads.highest == CONCURRENCY
    assert not sandbox.state.ledger.of("clevertap").requests[429]


def test_one_failing_count_costs_the_others_nothing(vendor: LoopbackVendor) -> None:
    """A refused question has its error, the one after it its number."""
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


def test_the_command_prints_the_number(sandbox: Running) -> None:
    """The number alone, or one JSON object; what cannot be asked ends with 2."""
    fill(sandbox, 77)
    days = ("--from", DAY, "--to", DAY)
    assert ingest(sandbox, NAME, *days).stdout == "77\n"
    told = json.loads(ingest(sandbox, NAME, *days, "--where", "n:equals:5", "--json").stdout)
    assert told == {
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


def test_a_wrong_range_is_not_asked() -> None:
    """Days are checked before a connection is made."""
    with pytest.raises(InvalidQuery):
        count(NAME, 20260102, 20260101, destination=account("http://127.0.0.1:9"))
