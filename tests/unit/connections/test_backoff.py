"""Waits between attempts: exponential, bounded, and spread."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.connections.backoff import backoff


def test_backoff_without_jitter_doubles_up_to_the_cap() -> None:
    """Each wait is twice the one before, until the cap."""
    assert [backoff(attempt, 1, 10) for attempt in range(6)] == [1, 2, 4, 8, 10, 10]


def test_backoff_with_jitter_is_that_share_of_the_wait() -> None:
    """The caller's draw scales the wait, at the cap as well."""
    assert backoff(2, 1, 10, 0.5) == pytest.approx(2)
    assert backoff(9, 1, 10, 0.25) == pytest.approx(2.5)


@given(
    attempt=st.integers(0, 10_000),
    base=st.floats(0, 1000),
    cap=st.floats(0, 1000),
    random=st.floats(0, 1, exclude_max=True),
)
def test_backoff_of_any_attempt_is_bounded(
    attempt: int, base: float, cap: float, random: float
) -> None:
    """From nothing to base * 2^attempt, never above the cap, and never an overflow."""
    wait = backoff(attempt, base, cap, random)
    assert 0 <= wait <= cap
    assert wait <= base * 2 ** min(attempt, 30)
