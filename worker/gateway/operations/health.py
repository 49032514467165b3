"""`/healthz`: this process serves. `/readyz`: what it needs is there, so records get somewhere."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
import redis.asyncio
from redis.exceptions import RedisError

from worker.buffer import keys
from worker.buffer.scripts import script

from ..server.endpoint import Endpoint, HttpResponse, Request


class Alive(Endpoint):
    """`/healthz`: looks at nothing else, so a Redis that is away restarts no gateway."""

    method = "GET"
    path = "/healthz"

    async def answer(self, request: Request) -> HttpResponse:
        """Always 200."""
        del request
        return HttpResponse(200, b'{"status":"ok"}')


class Ready(Endpoint):
    """`/readyz`: 200 when Redis answers and a drain ran within ``tick_s``, else 503 and why.

    One drain ticks all enabled destinations, so the newest tick tells. With ``tick_s`` 0 only
    Redis is asked: records are then also taken in while nobody delivers them.
    """

    method = "GET"
    path = "/readyz"

    def __init__(
        self,
        client: redis.asyncio.Redis,
        destinations: Sequence[str],
        tick_s: float,
    ) -> None:
        self._client = client
        self._destinations = destinations
        self._tick_s = tick_s

    async def answer(self, request: Request) -> HttpResponse:
        """What is there, and what is not."""
        del request
        try:
            age_s = await self._unticked_s()
        except RedisError:
            return _told(ready=False, redis="away", drain="unknown")
        if not self._tick_s:
            return _told(ready=True, redis="ok", drain="not looked at")
        if age_s is None:
            return _told(ready=False, redis="ok", drain="never ran")
        ready = age_s <= self._tick_s
        return _told(ready=ready, redis="ok", drain=f"ran {age_s:.0f} s ago")

    async def _unticked_s(self) -> float | None:
        """Seconds since the newest tick, by Redis' clock: a gateway's own may be wrong."""
        ages: list[int] = []
        for name in self._destinations:
            since_ms = await script("ms_since_tick").run_async(self._client, keys.base(name))
            if since_ms is not None:
                ages.append(since_ms)
        return min(ages) / 1000 if ages else None


def _told(*, ready: bool, redis: str, drain: str) -> HttpResponse:
    body = orjson.dumps({"ready": ready, "redis": redis, "drain": drain})
    return HttpResponse(200 if ready else 503, body, () if ready else ((b"retry-after", b"1"),))
