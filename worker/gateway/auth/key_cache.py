"""A gateway's view of the producers' keys: the whole table, read again every two seconds.

Tables are small (a key for each web app), so one HGETALL serves every look-up until the next. A
revoked key is refused two seconds later at most, and a new one is taken as soon as it is shown.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import cast

import redis.asyncio
from redis.exceptions import RedisError

from ..server.errors import HttpError
from .api_keys import TABLE, ProducerKey, find, read_table

FRESH_S = 2.0
# Unknown keys have the table read again, for they may be new; a flood of them, no more than this.
UNKNOWN_FRESH_S = 0.25
RETRY_S = 1.0


class KeyCache:
    """Looks keys up; one for each event loop."""

    def __init__(
        self, client: redis.asyncio.Redis, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._clock = clock
        self._keys: Mapping[bytes, ProducerKey] = {}
        self._read_at = self._failed_at = float("-inf")
        self._reading = asyncio.Lock()

    async def find(self, shown: str) -> ProducerKey | None:
        """The key shown, or None; Refused with 503 when the table cannot be read."""
        if self._clock() - self._read_at > FRESH_S:
            await self._read(FRESH_S)
        key = find(self._keys, shown)
        if key is None and self._clock() - self._read_at > UNKNOWN_FRESH_S:
            await self._read(UNKNOWN_FRESH_S)
            key = find(self._keys, shown)
        return key

    async def _read(self, fresh_s: float) -> None:
        """Read the table; those who wait meanwhile share the outcome, a failure too.

        Were each to try a silent Redis for itself, the last of a hundred would wait for minutes.
        """
        came = self._clock()
        async with self._reading:
            if self._clock() - self._read_at <= fresh_s:
                return
            if self._failed_at >= came:
                raise _away()
            began = self._clock()
            try:
                table = await cast("Awaitable[dict[bytes, bytes]]", self._client.hgetall(TABLE))
            except RedisError as error:
                self._failed_at = self._clock()
                raise _away() from error
            self._keys, self._read_at = read_table(table), began


def _away() -> HttpError:
    return HttpError(503, "Redis is away: nothing was accepted", retry_after_s=RETRY_S)
