"""How long the read-back waits for a vendor, and what it gives up on at once."""

from __future__ import annotations

import json

import pytest

from support.clocks import Clock
from worker.errors import CredentialsRefused, VendorError
from worker.readback.client import BUSY_WITHIN_S, FAILURES, LONGEST_WAIT_S, Retries
from worker.vendors.clevertap.reads import ReadReply, ReplyKind, parse_reply
from worker.vendors.protocol import Response


def failed(error: str, status: int, **headers: str) -> ReadReply:
    """A failure in the vendor's shape."""
    body = {"status": "fail", "error": error, "code": status}
    return parse_reply(Response(status, headers, json.dumps(body).encode()))


def retries(clock: Clock | None = None, random: float = 1.0) -> Retries:
    """Retries with a base of one second and without jitter."""
    return Retries(1.0, random=lambda: random, clock=clock or Clock())


def test_wait_s_doubles_up_to_a_bound() -> None:
    """The wait doubles with each try, is never nothing, and never longer than half a minute."""
    tries, throttled = retries(), ReadReply(ReplyKind.THROTTLED)
    waits = [tries.wait_s(throttled) for _ in range(7)]
    assert waits == [1, 2, 4, 8, 16, LONGEST_WAIT_S, LONGEST_WAIT_S]
    assert retries(random=0.0).wait_s(throttled) == 0.5


def test_wait_s_follows_retry_after() -> None:
    """A Retry-After longer than our own wait is waited for."""
    assert retries().wait_s(failed("Too many", 429, **{"retry-after": "120"})) == 120


def test_wait_s_after_too_many_failures_raises() -> None:
    """Six failures in a row end with the last one's words; a good reply resets the count."""
    tries, unavailable = retries(), ReadReply(ReplyKind.FAILED, error="HTTP 503")
    for _ in range(FAILURES - 1):
        tries.wait_s(unavailable)
    tries.reset()
    for _ in range(FAILURES - 1):
        tries.wait_s(unavailable)
    with pytest.raises(VendorError, match="failed 6 times: HTTP 503"):
        tries.wait_s(unavailable)


def test_wait_s_busy_for_too_long_raises() -> None:
    """An export that is never ready ends after a quarter of an hour, and says so."""
    clock = Clock()
    tries, busy = retries(clock), ReadReply(ReplyKind.BUSY, error="still in progress")
    tries.wait_s(busy)
    clock.now = BUSY_WITHIN_S - 1
    tries.wait_s(busy)
    clock.now = BUSY_WITHIN_S
    with pytest.raises(VendorError, match="busy for 900 s: still in progress"):
        tries.wait_s(busy)


def test_wait_s_final_error_is_raised_at_once() -> None:
    """Refused credentials and a refused request have errors of their own."""
    with pytest.raises(CredentialsRefused, match="check account id, passcode and region"):
        retries().wait_s(failed("Invalid Credentials", 401))
    with pytest.raises(VendorError, match="Export not allowed"):
        retries().wait_s(failed("Export not allowed for this event", 400))
