"""Clients of the master that Sentinels name; closing one also closes its Sentinel connections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.backoff import NoBackoff
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
    client = _master_for(Sentinel, address, _MasterClient, retry, options)
    return cast("redis.Redis", client)


def async_master_client(
    address: SharedAddress, retry: AsyncRetry, options: Mapping[str, Any]
) -> redis.asyncio.Redis:
    """Return such a client for asyncio."""
    client = _master_for(AsyncSentinel, address, _AsyncMasterClient, retry, options)
    return cast("redis.asyncio.Redis", client)


def _master_for(
    sentinel: type[Any],
    address: SharedAddress,
    client: type[Any],
    retry: Retry | AsyncRetry,
    options: Mapping[str, Any],
) -> Any:
    to_master = address.connection_options()
    timeout_s = min(options["socket_timeout"], SENTINEL_TIMEOUT_S)
    to_sentinels = {
        **options,
        **dict.fromkeys(("socket_timeout", "socket_connect_timeout"), timeout_s),
        **address.sentinel_options,
        **{name: value for name, value in to_master.items() if name.startswith("ssl")},
        "retry": type(retry)(NoBackoff(), 0),
    }
    sentinels = sentinel(list(address.hosts), sentinel_kwargs=to_sentinels)
    return sentinels.master_for(address.service, client, **{**options, **to_master, "retry": retry})
