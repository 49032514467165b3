"""Limit the records a producer may send: a token bucket for each key, in each gateway process.

It is kept in the process, not in Redis: that costs no round trip, and still holds when Redis is
unavailable, which is when clients retry most. Several processes multiply the limit.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ..server.endpoint import HttpError

_MAX_BUCKETS = 10_000  # keys that come and go must not grow the table for ever


class RateLimits:
    """A request is admitted while its producer's bucket holds a token, and takes one.

    The rest is charged when its number of records is known: one large request may put the bucket
    into debt, and the next waits until the debt is paid.
    """

    def __init__(
        self, records_per_s: float, burst: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_s = records_per_s
        self._burst = burst
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # producer -> tokens, as of when

    def admit(self, producer: str) -> None:
        """Take a token; raise HttpError 429 with the time until there is one, if there is none."""
        if not self._per_s:
            return
        now = self._clock()
        tokens = self._tokens(producer, now)
        if tokens < 1:
            wait_s = (1 - tokens) / self._per_s
            raise HttpError(429, "Too many requests: over the key's rate", retry_after_s=wait_s)
        self._set(producer, tokens - 1, now)

    def charge(self, producer: str, records: int) -> None:
        """Take the tokens of an admitted request, except the one it has taken already."""
        if self._per_s and records > 1:
            now = self._clock()
            self._set(producer, self._tokens(producer, now) - (records - 1), now)

    def _set(self, producer: str, tokens: float, now: float) -> None:
        if len(self._buckets) >= _MAX_BUCKETS and producer not in self._buckets:
            self._buckets.clear()
        self._buckets[producer] = (tokens, now)

    def _tokens(self, producer: str, now: float) -> float:
        tokens, as_of = self._buckets.get(producer, (self._burst, now))
        return min(self._burst, tokens + (now - as_of) * self._per_s)
