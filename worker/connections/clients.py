"""Redis clients, each with the timeouts that its users need.

A producer is in the path of a web request: it waits at most a quarter of a second for each reply,
and then raises. It never repeats a call, because the first may have been carried out. A worker has
time: it repeats calls until Redis is back, and all of its operations may be repeated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlsplit

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import MasterNotFoundError as AsyncMasterNotFoundError
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.connection import parse_url
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    MaxConnectionsError,
    ReadOnlyError,
    RedisError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError

from ..errors import SettingsError
from ..settings.settings import Settings
from .addresses import shared_address
from .cluster import UNSETTLED, AsyncCluster, Cluster
from .embedded.processes import running_url
from .low_latency import LowLatencyClient
from .sentinel import async_master_client, master_client

PRODUCER_TIMEOUT_S = 0.25
WORKER_TIMEOUT_S = 10.0
WORKER_RETRIES = 12  # with the back-off below about 30 s: a restart with a large append-only file
# Enough for one per thread. redis-py 8 lends only 100 by default, and refuses the next: too few
# while, for example, Redis writes to a slow disk and every thread waits.
MAX_CONNECTIONS = 2**31
_DATABASE = re.compile(r"/?\d*/?")
# A Redis that accepts no writes is handled where scripts are run.
TRANSIENT = (RedisConnectionError, RedisTimeoutError, BusyLoadingError)
# redis-py calls these connection errors, but they are replies, or come before anything was sent.
_NOTHING_SENT = (
    AsyncMasterNotFoundError,
    AuthenticationError,
    BusyLoadingError,
    MasterNotFoundError,
    MaxConnectionsError,
)


def redis_url(settings: Settings) -> str:
    """Return REDIS_URL, or the address of the embedded Redis that runs here.

    SettingsError when there is neither or the address is malformed; the message never contains it.
    """
    url = settings.redis_url.reveal() or running_url()
    if not url:
        raise SettingsError(
            "REDIS_URL: not set, and no embedded Redis runs in ./var (`ingest up` starts one)"
        )
    try:
        check_address(url)
    except SettingsError as error:
        raise SettingsError(f"REDIS_URL: {error}") from None
    return url


def check_address(url: str) -> None:
    """Raise SettingsError for a malformed address; the message never contains it."""
    address = shared_address(url)
    one = url if address is None else address.url_of(*address.hosts[0])
    try:
        parse_url(one)
    except ValueError:  # it may quote the password
        raise SettingsError(
            "not an address; it looks like redis://:password@host:6379/0, "
            "with / # ? @ : in a password written as %2F %23 %3F %40 %3A"
        ) from None
    # redis-py uses database 0 for one that is not a number: records would go astray.
    if not one.startswith("unix:") and not _DATABASE.fullmatch(urlsplit(one).path):
        raise SettingsError("the database after the host must be a number, as in /0")
    try:
        redis.ConnectionPool.from_url(one).make_connection()  # which does not connect
    except TypeError:
        raise SettingsError("the ? is followed by an option that redis-py does not know") from None


def producer_client(url: str, timeout_s: float | None = None) -> redis.Redis:
    """Return a client that waits a quarter of a second for each round trip; a call has one.

    A new connection adds its own: TCP, and TLS, AUTH and SELECT if the address asks for them. The
    lookup of a host name is not bounded.
    """
    return _client(url, Retry(NoBackoff(), 0), _low_latency(timeout_s), LowLatencyClient)


def bulk_client(url: str) -> redis.Redis:
    """Return a producer's client for large chunks: it waits longer, and repeats no call either."""
    return producer_client(url, WORKER_TIMEOUT_S)


def async_producer_client(url: str, timeout_s: float | None = None) -> redis.asyncio.Redis:
    """Return a producer's client for asyncio, or with ``timeout_s`` the gateway's."""
    address = shared_address(url)
    retry, options = AsyncRetry(NoBackoff(), 0), _low_latency(timeout_s)
    if address is None:
        return redis.asyncio.Redis.from_url(url, retry=retry, **_for_one(url, options))
    if address.form == "cluster":
        return cast("redis.asyncio.Redis", AsyncCluster(address, options))
    return async_master_client(address, retry, options)


def worker_client(
    url: str, retries: int = WORKER_RETRIES, timeout_s: float = WORKER_TIMEOUT_S
) -> redis.Redis:
    """Return a client that outlasts a restart of Redis; it connects when first used."""
    backoff = ExponentialWithJitterBackoff(base=0.05, cap=5.0)
    retry = Retry(backoff, retries, supported_errors=(*TRANSIENT, *UNSETTLED))
    return _client(url, retry, _common(timeout_s))


def operator_client(url: str, timeout_s: float = WORKER_TIMEOUT_S) -> redis.Redis:
    """Return a client for commands that a person waits for: it tries twice, and raises."""
    return worker_client(url, retries=1, timeout_s=timeout_s)


def answer_was_lost(error: RedisError) -> bool:
    """Return whether a failed call may have taken effect: Redis was reached, and did not refuse."""
    if isinstance(error, _NOTHING_SENT) or " connecting to " in str(error):
        return False
    # A master that became a replica refused the call; with Sentinels, redis-py then disconnects.
    if isinstance(error.__context__, ReadOnlyError):
        return False
    return isinstance(error, RedisConnectionError | RedisTimeoutError)


def _common(timeout_s: float) -> Mapping[str, Any]:
    return {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "socket_keepalive": True,
        "health_check_interval": 30,
    }


def _low_latency(timeout_s: float | None) -> Mapping[str, Any]:
    """Leave out round trips that a call can do without: each may take all of the timeout.

    They are HELLO and two CLIENT SETINFO on a new connection, and PING on one that was idle: for a
    call that is never repeated, an unanswered PING is no better than a timeout of its own.
    """
    spared = {"protocol": 2, "driver_info": None, "health_check_interval": 0}
    return {**_common(PRODUCER_TIMEOUT_S if timeout_s is None else timeout_s), **spared}


def _for_one(url: str, options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the options for one server: a unix socket has no TCP to keep alive."""
    if not url.startswith("unix:"):
        return options
    return {name: value for name, value in options.items() if name != "socket_keepalive"}


def _client(
    url: str, retry: Retry, options: Mapping[str, Any], to_one: type[redis.Redis] = redis.Redis
) -> redis.Redis:
    address = shared_address(url)
    options = {**options, "max_connections": MAX_CONNECTIONS}
    if address is None:
        return to_one.from_url(url, retry=retry, **_for_one(url, options))
    if address.form == "cluster":
        # It has every method of redis.Redis that we use.
        return cast("redis.Redis", Cluster(address, retry, options))
    return master_client(address, retry, options)
