"""`/healthz`: this process serves. `/readyz`: Redis answers, and a worker delivers records."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError

from worker.buffer import keys
from worker.buffer.scripts import script

from ..server.endpoint import Endpoint, FixedResponse, HttpRequest, HttpResponse

# Checks nothing else, so that a Redis outage restarts no gateway.
ALIVE = FixedResponse("/healthz", b'{"status":"ok"}')
_RETRY = ((b"retry-after", b"1"),)


class Ready(Endpoint):
    """`/readyz`: 200 when Redis answers and a drain ran within ``tick_s``, else 503 and why.

    One drain ticks all enabled destinations, so the newest tick counts. With ``tick_s`` 0 only
    Redis is checked: records are then also accepted while no worker delivers them.
    """

    path = "/readyz"

    def __init__(self, client: Redis, destinations: Sequence[str], tick_s: float) -> None:
        self._client = client
        self._destinations = destinations
        self._tick_s = tick_s

    async def handle(self, _: HttpRequest) -> HttpResponse:
        ready, redis, drain = await self._readiness()
        body = orjson.dumps({"ready": ready, "redis": redis, "drain": drain})
        return HttpResponse(200, body) if ready else HttpResponse(503, body, _RETRY)

    async def _readiness(self) -> tuple[bool, str, str]:
        """Return whether the gateway is ready, and the states of Redis and of the drain."""
        tick = script("ms_since_tick")  # by Redis' clock: a gateway's may be wrong
        try:
            ages = [await tick.run_async(self._client, keys.base(d)) for d in self._destinations]
        except RedisError:
            return False, "away", "unknown"
        if not self._tick_s:
            return True, "ok", "not looked at"
        age_s = min((ms / 1000 for ms in ages if ms is not None), default=None)
        if age_s is None:
            return False, "ok", "never ran"
        return age_s <= self._tick_s, "ok", f"ran {age_s:.0f} s ago"
