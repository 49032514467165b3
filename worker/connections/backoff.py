"""Exponential back-off, for whoever tries again."""

from __future__ import annotations


def backoff(attempt: int, base: float, cap: float, jitter: float = 1.0) -> float:
    """Return the wait after ``attempt``, counted from 0: ``base * 2^attempt``, at most ``cap``.

    ``jitter`` is the share of that to wait: drawn evenly from [0, 1) for full jitter.
    """
    return jitter * min(cap, base * 2.0 ** min(attempt, 30))
