"""Redis clients, each with the timeouts its users need.

A producer stands in the path of somebody's web request: it waits a quarter of a second and tells.
It never repeats a call by itself, for the first may have been carried out. A worker has time: it
repeats until Redis is back, for its operations may be repeated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.exceptions import BusyLoadingError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

PRODUCER_TIMEOUT_S = 0.25
WORKER_TIMEOUT_S = 10.0
WORKER_RETRIES = 12  # with the back-off below about 30 s: a restart with a large append-only file
# A Redis that takes no writes is seen to where scripts are run.
TRANSIENT = (RedisConnectionError, RedisTimeoutError, BusyLoadingError)


def _common(timeout_s: float) -> Mapping[str, Any]:
    return {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "socket_keepalive": True,
        "health_check_interval": 30,
    }


def producer_client(url: str) -> redis.Redis:
    """A client that answers or fails within a quarter of a second."""
    return redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **_common(PRODUCER_TIMEOUT_S))


def bulk_client(url: str) -> redis.Redis:
    """A producer's client for large chunks: it never repeats a call, but waits for longer."""
    return redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **_common(WORKER_TIMEOUT_S))


def async_producer_client(url: str) -> redis.asyncio.Redis:
    """The same for asyncio."""
    retry = AsyncRetry(NoBackoff(), 0)
    return redis.asyncio.Redis.from_url(url, retry=retry, **_common(PRODUCER_TIMEOUT_S))


def gateway_client(url: str, timeout_s: float) -> redis.asyncio.Redis:
    """The gateway's client for asyncio: it never repeats a call by itself either."""
    retry = AsyncRetry(NoBackoff(), 0)
    return redis.asyncio.Redis.from_url(url, retry=retry, **_common(timeout_s))


def worker_client(url: str, retries: int = WORKER_RETRIES) -> redis.Redis:
    """A client that outlasts a restart of Redis; its connections are made when first used."""
    backoff = ExponentialWithJitterBackoff(base=0.05, cap=5.0)
    retry = Retry(backoff, retries, supported_errors=TRANSIENT)
    return redis.Redis.from_url(url, retry=retry, **_common(WORKER_TIMEOUT_S))


def operator_client(url: str) -> redis.Redis:
    """A client for commands that a person waits for: it tries twice and tells."""
    return worker_client(url, retries=1)
