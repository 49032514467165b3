"""Limits of concurrency and rate."""

from __future__ import annotations

from worker.sandbox.state import ConcurrencyLimiter, RateLimiter


def test_concurrency_limiter_counts_requests_in_flight() -> None:
    """One over the limit is refused, and a place is free again afterwards."""
    limiter = ConcurrencyLimiter(1)
    with limiter.entered() as first, limiter.entered() as second:
        assert (first, second) == (True, False)
    with limiter.entered() as third:
        assert third
    assert limiter.highest == 1


def test_rate_limiter_refills_with_time() -> None:
    """One second's worth may come at once; then requests are allowed as time passes."""
    now = [0.0]
    limiter = RateLimiter(2, lambda: now[0])

    def enter() -> bool:
        with limiter.entered() as allowed:
            return allowed

    assert [enter(), enter(), enter()] == [True, True, False]
    now[0] = 0.5
    assert [enter(), enter()] == [True, False]
