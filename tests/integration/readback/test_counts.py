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

import pytest

from support.environment import environment
from support.reading import DAY, NAME, account, environment_of, fill
from support.vendor import Exchange, LoopbackVendor
from worker.readback.client import CONCURRENCY, reading
from worker.readback.counts import count, count_all
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


def test_count_conditions_are_sent(sandbox: Running) -> None:
    """Every condition must hold."""
    fill(sandbox, 100)
    filters = [CountCondition.parse("n:greater_than:10"), CountCondition.parse("n:less_than:20")]
    assert count(NAME, DAY, DAY, filters, destination=account(sandbox.url)) == 9


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
