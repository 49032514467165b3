"""A destination's last day, minute by minute, for the dashboard's charts.

A sample is some 60 bytes in Redis, so a day of them is less than a hundred kilobytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import orjson
import redis

from ..settings.destination import Destination
from . import keys
from .scripts import script

KEEP_MINUTES = 1500  # a day, and an hour to compare its first minutes with
_ASK_EVERY_S = 20.0  # three times a minute, so that no minute is missed


@dataclass(frozen=True, slots=True)
class Sample:
    """One moment, over all kinds: totals since the beginning, and what was where.

    ``minute`` is epoch minutes, ``oldest_ms`` how long the oldest record in the buffer had waited.
    """

    minute: int
    accepted: int
    delivered: int
    dead_lettered: int
    waiting: int
    oldest_ms: int
    dead: int


class History:
    """Writes and reads the samples of one destination; any number of processes may."""

    def __init__(
        self,
        client: redis.Redis,
        destination: Destination,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client, self._destination, self._clock = client, destination, clock
        self._next_s = float("-inf")

    def sample(self) -> bool:
        """Save a sample of this minute unless there is one; return True if it was saved now.

        Cheap to call every second: Redis is asked three times a minute.
        """
        now_s = self._clock()
        if now_s < self._next_s:
            return False
        self._next_s = now_s + _ASK_EVERY_S
        base, kinds = keys.base(self._destination.name), self._destination.kinds
        return bool(script("sample").run(self._client, base, KEEP_MINUTES, *kinds))

    def read(self, minutes: int = KEEP_MINUTES) -> list[Sample]:
        """Return the samples of the last minutes, oldest first; minutes without one are missing."""
        key = keys.history(self._destination.name)
        entries: list[bytes] = self._client.lrange(key, -minutes, -1)  # type: ignore[assignment] # a blocking client
        return [Sample(*orjson.loads(entry)) for entry in entries]
