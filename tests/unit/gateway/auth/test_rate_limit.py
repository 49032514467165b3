"""The rate of each producer."""

from __future__ import annotations

import pytest

from worker.gateway.auth.rate_limit import RateLimits
from worker.gateway.server.endpoint import HttpError


def test_admit_while_in_debt_raises_429_until_it_is_paid() -> None:
    """A large request is admitted and paid for afterwards; Retry-After is exact to the second."""
    now = [0.0]
    rates = RateLimits(10, 20, clock=lambda: now[0])
    rates.admit("a")
    rates.charge("a", 40)  # 20 - 40 = -20: 2.1 s until there is one again
    with pytest.raises(HttpError) as raised:
        rates.admit("a")
    assert (raised.value.status, raised.value.headers) == (429, [(b"retry-after", b"3")])
    rates.admit("b")
    now[0] = 2.0
    with pytest.raises(HttpError):
        rates.admit("a")
    now[0] = 2.11
    rates.admit("a")
    with pytest.raises(HttpError):
        rates.admit("a")


def test_admit_after_idling_allows_no_more_than_the_burst() -> None:
    """An idle key saves up no more than the burst."""
    now = [0.0]
    rates = RateLimits(10, 3, clock=lambda: now[0])
    rates.admit("a")
    now[0] = 1000.0
    for _ in range(3):
        rates.admit("a")
    with pytest.raises(HttpError):
        rates.admit("a")


def test_admit_without_a_rate_has_no_limit() -> None:
    """A rate of 0 admits every request."""
    rates = RateLimits(0, 0)
    for _ in range(100):
        rates.admit("a")
        rates.charge("a", 1000)
