"""Cache the table of producers' keys, and read it again every two seconds.

The table is small (one key per web app), so one HGETALL serves every look-up until the next. A
revoked key is rejected after at most two seconds, and a new one is accepted when it is first used.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from ..server.endpoint import HttpError
from .api_keys import TABLE, ProducerKey, find, read_table

FRESH_S = 2.0
# An unknown key may be new, so the table is read again, but no more often than this.
UNKNOWN_FRESH_S = 0.25
RETRY_S = 1.0


class KeyCache:
    """Finds keys for one event loop."""

    def __init__(self, client: Redis, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._keys: Mapping[bytes, ProducerKey] = {}
        self._read_at = self._failed_at = float("-inf")
        self._reading = asyncio.Lock()

    async def find(self, presented: str) -> ProducerKey | None:
        """Return the presented key, or None; HttpError 503 when the table cannot be read."""
        if self._clock() - self._read_at > FRESH_S:
            await self._read(FRESH_S)
        key = find(self._keys, presented)
        if key is None and self._clock() - self._read_at > UNKNOWN_FRESH_S:
            await self._read(UNKNOWN_FRESH_S)
            key = find(self._keys, presented)
        return key

    async def _read(self, fresh_s: float) -> None:
        """Read the table; requests that wait meanwhile share the outcome, a failure too.

        If each of a hundred tried a silent Redis on its own, the last would wait for minutes.
        """
        arrived = self._clock()
        async with self._reading:
            if self._clock() - self._read_at <= fresh_s:
                return
            if self._failed_at >= arrived:
                raise _unavailable()
            started = self._clock()
            try:
                table = await cast("Awaitable[dict[bytes, bytes]]", self._client.hgetall(TABLE))
            except RedisError as error:
                self._failed_at = self._clock()
                raise _unavailable() from error
            self._keys, self._read_at = read_table(table), started


def _unavailable() -> HttpError:
    return HttpError(503, "Redis is unavailable: nothing was accepted", retry_after_s=RETRY_S)
