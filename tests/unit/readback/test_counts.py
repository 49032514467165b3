"""Counts, from prepared responses of the vendor."""

from __future__ import annotations

from typing import Any

import pytest

from support.reading import DAY, NAME, LocalSandbox, ScriptedVendor, account, fill, reply
from worker.errors import CredentialsRefused, InvalidQuery, VendorError
from worker.readback.client import CONCURRENCY
from worker.readback.counts import MAX_RESTARTS, POLLS, count, count_all, count_one
from worker.readback.queries import CountQuery
from worker.sandbox.settings import SandboxSettings

QUERY = CountQuery(NAME, int(DAY), int(DAY))
PARTIAL = {"status": "partial", "req_id": 384649162721759}
LOST = {"status": "fail", "error": "invalid request id", "code": 400}


@pytest.fixture
def vendor() -> ScriptedVendor:
    """A vendor with prepared responses."""
    return ScriptedVendor()


def counted(vendor: ScriptedVendor) -> int:
    """Return the vendor's count of today."""
    return count_one(vendor.reader(), QUERY)


def test_count_partial_polls_by_request_id(vendor: ScriptedVendor) -> None:
    """One POST, then GETs with the id, even if a poll's response omits it."""
    vendor.script(
        reply(PARTIAL), reply({"status": "partial"}), reply({"status": "success", "count": 7})
    )
    assert counted(vendor) == 7
    polled = "/1/counts/events.json?req_id=384649162721759"
    assert vendor.paths == ["/1/counts/events.json", polled, polled]


def test_count_partial_with_a_number_is_polled_on(vendor: ScriptedVendor) -> None:
    """The number counted so far is not the result."""
    vendor.script(reply(PARTIAL | {"count": 3}), reply({"status": "partial", "count": 5}))
    vendor.script(reply({"status": "success", "count": 7}))
    assert counted(vendor) == 7
    vendor.script(reply({"count": 9}))
    assert counted(vendor) == 9


@pytest.mark.parametrize("status", [200, 400])
def test_count_forgotten_request_id_restarts(vendor: ScriptedVendor, status: int) -> None:
    """If the vendor forgets the id, the count starts again and comes out right."""
    vendor.script(reply(PARTIAL), reply(LOST, status), reply(PARTIAL | {"req_id": 2}))
    vendor.script(reply({"status": "success", "count": 7138}))
    assert counted(vendor) == 7138
    assert vendor.paths[-1].endswith("?req_id=2")


def test_count_always_forgotten_raises(vendor: ScriptedVendor) -> None:
    """Restarts are bounded, and the error names the query."""
    for _ in range(MAX_RESTARTS + 1):
        vendor.script(reply(PARTIAL), reply(LOST))
    with pytest.raises(VendorError, match=rf"{NAME}, {DAY} to {DAY}: .*lost the request 4 times"):
        counted(vendor)


def test_count_one_always_partial_raises(vendor: ScriptedVendor) -> None:
    """Polls are bounded."""
    vendor.usual = reply(PARTIAL)
    with pytest.raises(VendorError, match=f"not counted after {POLLS} polls"):
        counted(vendor)


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
    vendor: ScriptedVendor, body: Any, status: int, reason: str
) -> None:
    """The error has the reason, in whatever shape the vendor sends it."""
    vendor.usual = reply(body, status)
    with pytest.raises(VendorError, match=reason):
        counted(vendor)


def test_count_all_refused_credentials_end_at_once(vendor: ScriptedVendor) -> None:
    """A refused passcode is not sent a hundred times."""
    vendor.usual = reply({"status": "fail", "error": "Passcode Invalid", "code": 401}, 401)
    with pytest.raises(CredentialsRefused):
        count_all(vendor.reader(), [QUERY] * 100)
    assert len(vendor.requests) <= 2 * CONCURRENCY


def test_count_all_one_failure_leaves_the_others(vendor: ScriptedVendor) -> None:
    """A refused query yields its error, the others their numbers."""
    refused = reply({"status": "fail", "error": "Invalid event", "code": 400}, 400)
    vendor.usual = reply({"status": "success", "count": 5})
    vendor.script(refused)
    first, *others = count_all(vendor.reader(), [QUERY] * 4)
    found = [first, *others]
    assert sum(isinstance(each, VendorError) for each in found) == 1
    assert [each for each in found if not isinstance(each, VendorError)] == [5, 5, 5]


def test_count_wrong_range_raises_before_any_request() -> None:
    """Days are checked before a connection is made."""
    with pytest.raises(InvalidQuery):
        count(NAME, 20260102, 20260101, destination=account("http://127.0.0.1:9"))


def test_count_one_partial_three_times_polls_until_counted() -> None:
    """Polls come at the interval of the settings until the number is there."""
    sandbox = LocalSandbox(SandboxSettings(count_partials=3))
    fill(sandbox, 123)
    waits: list[float] = []
    assert count_one(sandbox.reader(sleep=waits.append, count_poll_s=30.0), QUERY) == 123
    assert waits == [30.0, 30.0, 30.0]
