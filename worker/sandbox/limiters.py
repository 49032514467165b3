"""Limits of a vendor: concurrent requests, or requests per second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class ConcurrencyLimiter:
    """Allows ``limit`` requests at once; ``highest`` is the peak."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._inside = 0
        self.highest = 0

    @contextmanager
    def entered(self) -> Iterator[bool]:
        """Enter, and yield whether the request is allowed; it counts until the block ends."""
        if self._inside >= self._limit:
            yield False
            return
        self._inside += 1
        self.highest = max(self.highest, self._inside)
        try:
            yield True
        finally:
            self._inside -= 1


class RateLimiter:
    """Allows ``per_s`` requests a second, and one second's worth at once; 0 for no limit."""

    def __init__(self, per_s: float, clock: Callable[[], float]) -> None:
        self._per_s, self._clock = per_s, clock
        self._left, self._at = per_s, clock()

    @contextmanager
    def entered(self) -> Iterator[bool]:
        """Yield whether the request is allowed."""
        now = self._clock()
        self._left = min(self._per_s, self._left + (now - self._at) * self._per_s)
        self._at = now
        enough = self._per_s <= 0 or self._left >= 1
        self._left -= 1 if enough else 0
        yield enough
