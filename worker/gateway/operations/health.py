"""`/healthz`: this process serves. `/readyz`: Redis answers, and a worker delivers records."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
import redis.asyncio
from redis.exceptions import RedisError

from worker.buffer import keys
from worker.buffer.scripts import script

from ..server.endpoint import Endpoint, HttpRequest, HttpResponse


class Alive(Endpoint):
    """`/healthz`: checks nothing else, so that a Redis outage restarts no gateway."""

    method = "GET"
    path = "/healthz"

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer 200, always."""
        del request
        return HttpResponse(200, b'{"status":"ok"}')


class Ready(Endpoint):
    """`/readyz`: 200 when Redis answers and a drain ran within ``tick_s``, else 503 and why.

    One drain ticks all enabled destinations, so the newest tick counts. With ``tick_s`` 0 only
    Redis is checked: records are then also accepted while no worker delivers them.
    """

    method = "GET"
    path = "/readyz"

    def __init__(
        self, client: redis.asyncio.Redis, destinations: Sequence[str], tick_s: float
    ) -> None:
        self._client = client
        self._destinations = destinations
        self._tick_s = tick_s

    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Answer what is ready, and what is not."""
        del request
        try:
            age_s = await self._tick_age_s()
        except RedisError:
            return _readiness(ready=False, redis="away", drain="unknown")
        if not self._tick_s:
            return _readiness(ready=True, redis="ok", drain="not looked at")
        if age_s is None:
            return _readiness(ready=False, redis="ok", drain="never ran")
        ready = age_s <= self._tick_s
        return _readiness(ready=ready, redis="ok", drain=f"ran {age_s:.0f} s ago")

    async def _tick_age_s(self) -> float | None:
        """Return the seconds since the newest tick by Redis' clock: a gateway's may be wrong."""
        tick = script("ms_since_tick")
        ages = [await tick.run_async(self._client, keys.base(name)) for name in self._destinations]
        known = [ms / 1000 for ms in ages if ms is not None]
        return min(known, default=None)


def _readiness(*, ready: bool, redis: str, drain: str) -> HttpResponse:
    body = orjson.dumps({"ready": ready, "redis": redis, "drain": drain})
    return HttpResponse(200 if ready else 503, body, () if ready else ((b"retry-after", b"1"),))
