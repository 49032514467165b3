"""Clients of the master that Sentinels name; closing one also closes its Sentinel connections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry
from redis.sentinel import Sentinel

from .addresses import SharedAddress

# Sentinels answer at once or not at all; then the next one is asked.
SENTINEL_TIMEOUT_S = 1.0


class _MasterClient(redis.Redis):
    def close(self) -> None:
        pool: Any = self.connection_pool
        super().close()
        pool.sentinel_manager.close()


class _AsyncMasterClient(redis.asyncio.Redis):
    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        pool: Any = self.connection_pool
        await super().aclose(close_connection_pool)
        for sentinel in pool.sentinel_manager.sentinels:
            await sentinel.aclose()


def master_client(address: SharedAddress, retry: Retry, options: Mapping[str, Any]) -> redis.Redis:
    """Return a client that asks the Sentinels for the master whenever it connects."""
    kwargs = _to_sentinels(address, options) | {"retry": Retry(NoBackoff(), 0)}
    sentinels = Sentinel(address.hosts, sentinel_kwargs=kwargs)
    found = sentinels.master_for(
        address.service, _MasterClient, **{**options, **_to_master(address), "retry": retry}
    )
    return cast("redis.Redis", found)


def async_master_client(
    address: SharedAddress, retry: AsyncRetry, options: Mapping[str, Any]
) -> redis.asyncio.Redis:
    """Return such a client for asyncio."""
    kwargs = _to_sentinels(address, options) | {"retry": AsyncRetry(NoBackoff(), 0)}
    sentinels = AsyncSentinel(list(address.hosts), sentinel_kwargs=kwargs)
    found = sentinels.master_for(
        address.service, _AsyncMasterClient, **{**options, **_to_master(address), "retry": retry}
    )
    return cast("redis.asyncio.Redis", found)


def _to_sentinels(address: SharedAddress, options: Mapping[str, Any]) -> dict[str, Any]:
    timeout_s = min(options["socket_timeout"], SENTINEL_TIMEOUT_S)
    soon = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
    tls = {name: value for name, value in _to_master(address).items() if name.startswith("ssl")}
    return {**options, **soon, **address.sentinel_options, **tls}


def _to_master(address: SharedAddress) -> dict[str, Any]:
    parsed = cast("dict[str, Any]", parse_url(address.url_of(*address.hosts[0])))
    for name in ("host", "port", "connection_class"):
        parsed.pop(name, None)
    return {**parsed, "ssl": address.tls}
