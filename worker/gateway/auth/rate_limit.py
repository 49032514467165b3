"""How many records a producer may send: a token bucket for each key, in each gateway process.

Kept in the process and not in Redis: it costs no round trip, and still holds when Redis is away,
which is when clients repeat the most. So with several processes the limit is as many times higher.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ..server.errors import HttpError

_MOST_BUCKETS = 10_000  # keys that come and go must not grow the table for ever


class RateLimits:
    """The buckets; a request is let in while its producer's bucket holds a token, and takes it.

    What else it brought is charged when it is known: one large request may put the bucket into
    debt, and the next waits for as long as the debt lasts.
    """

    def __init__(
        self, records_per_s: float, burst: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_s = records_per_s
        self._burst = burst
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # producer -> tokens, as of when

    def let_in(self, producer: str) -> None:
        """Take a token; Refused with 429, and the time until there is one, when there is none."""
        if not self._per_s:
            return
        now = self._clock()
        tokens = self._tokens(producer, now)
        if tokens < 1:
            wait_s = (1 - tokens) / self._per_s
            raise HttpError(429, "Too many requests: over the key's rate", retry_after_s=wait_s)
        self._set(producer, tokens - 1, now)

    def charge(self, producer: str, records: int) -> None:
        """Take the tokens of a request that was let in, but the one it has taken already."""
        if self._per_s and records > 1:
            now = self._clock()
            self._set(producer, self._tokens(producer, now) - (records - 1), now)

    def _set(self, producer: str, tokens: float, now: float) -> None:
        if len(self._buckets) >= _MOST_BUCKETS and producer not in self._buckets:
            self._buckets.clear()
        self._buckets[producer] = (tokens, now)

    def _tokens(self, producer: str, now: float) -> float:
        tokens, as_of = self._buckets.get(producer, (self._burst, now))
        return min(self._burst, tokens + (now - as_of) * self._per_s)
