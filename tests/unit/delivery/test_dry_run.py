"""Asking the vendor without delivering: every record gets its answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from worker.delivery.dry_run import TRIES, DryRun
from worker.errors import VendorError
from worker.vendors.clevertap.upload import CleverTap
from worker.vendors.protocol import Outcome, Request, Response, ResponseClass, UploadResult

OK = b'{"status": "success", "processed": %d, "unprocessed": []}'


class RecordedVendor:
    """Answers requests by a rule; counts them. Its other side is CleverTap's real adapter."""

    def __init__(self, *first: Response | UploadResult, poison: bytes = b"\0") -> None:
        self.first = list(first)
        self.poison = poison
        self.requests: list[Request] = []

    def send(self, request: Request) -> Response | UploadResult:
        self.requests.append(request)
        if self.first:
            return self.first.pop(0)
        if self.poison in request.content:
            return Response(400, {}, b'{"status": "fail", "error": "Malformed request"}')
        return Response(200, {}, OK % request.content.count(b'"n"'))


def bodies(size: int) -> list[bytes]:
    """So many records."""
    return [b'{"n":%d}' % number for number in range(size)]


def asked(vendor: RecordedVendor, records: Sequence[bytes]) -> Iterator[Outcome]:
    """The outcome of each record."""
    adapter = CleverTap("http://127.0.0.1:1", "account", "passcode")
    run = DryRun(adapter, vendor, sleep=lambda _: None)
    return (verdict.outcome for verdict in run.verdicts("event", records))


def test_dry_run_sends_only_dry_run_requests() -> None:
    """Every request says that nothing is to be stored."""
    vendor = RecordedVendor(poison=b'"n":3')
    list(asked(vendor, bodies(8)))
    assert all(request.path.endswith("?dryRun=1") for request in vendor.requests)


def test_dry_run_rejected_as_a_whole_is_halved() -> None:
    """A record that makes the vendor reject everything is found, and it alone is rejected."""
    outcomes = list(asked(RecordedVendor(poison=b'"n":5}'), bodies(9)))
    expected = [Outcome.DELIVERED] * 9
    expected[5] = Outcome.DEAD
    assert outcomes == expected


@pytest.mark.parametrize(
    "passing",
    [
        Response(429, {"retry-after": "600"}, b""),
        Response(503, {}, b""),
        Response(200, {}, b"<html>"),
        UploadResult(ResponseClass.UNREACHABLE),
        UploadResult(ResponseClass.AMBIGUOUS),
    ],
)
def test_dry_run_with_a_failing_vendor_retries(passing: Response | UploadResult) -> None:
    """Transient failures are retried a limited number of times, and then reported."""
    assert list(asked(RecordedVendor(passing), bodies(2))) == [Outcome.DELIVERED] * 2
    vendor = RecordedVendor(*[passing] * TRIES)
    with pytest.raises(VendorError, match="does not check records now"):
        list(asked(vendor, bodies(2)))
    assert len(vendor.requests) == TRIES


def test_dry_run_with_rejected_credentials_raises_without_retry() -> None:
    """A vendor that rejects the account is not asked again."""
    vendor = RecordedVendor(
        Response(401, {}, b'{"status": "fail", "error": "Account ID is not valid"}')
    )
    with pytest.raises(VendorError, match="HTTP 401"):
        list(asked(vendor, bodies(2)))
    assert len(vendor.requests) == 1
