"""Clients of a Redis Cluster that behave as those of a single server do.

A destination lives in one slot, so each call goes to one node; MOVED and ASK are followed by
redis-py. What it does otherwise, and would surprise its callers, is set right here: it connects
when it is made, it repeats calls at once and without a pause, and some of its errors are none of
Redis' own.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from redis.asyncio.cluster import ClusterNode as AsyncNode
from redis.asyncio.cluster import RedisCluster as AsyncRedisCluster
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.connection import parse_url
from redis.exceptions import ClusterError, RedisClusterException, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

from .addresses import SharedAddress

# A slot that is being moved answers TRYAGAIN until it has moved (see lua/prelude.lua): redis-py
# gives up with a ClusterError. CLUSTERDOWN, a ClusterError too, ends with the fail-over.
UNSETTLED = (ClusterError,)


def _options(address: SharedAddress, given: Mapping[str, Any]) -> dict[str, Any]:
    parsed = parse_url(address.url_of(*address.hosts[0]))
    for name in ("host", "port", "db", "connection_class"):
        parsed.pop(name, None)
    return {**given, **parsed, "ssl": address.tls}


def _told(error: RedisClusterException) -> RedisError:
    """The error of Redis that lies behind one that is not.

    When the nodes cannot be asked where a slot is, redis-py raises that instead of the error that
    made it ask. Which of the two it was decides whether a record may have been taken.
    """
    if isinstance(error.__context__, RedisError):
        return error.__context__
    return RedisConnectionError(f"Error connecting to the cluster: {error}")


class Cluster(RedisCluster):
    """Connects when it is first used, and repeats calls as ``patience`` says."""

    def __init__(self, address: SharedAddress, patience: Retry, options: Mapping[str, Any]) -> None:
        self._nodes = [ClusterNode(*each) for each in address.hosts]
        self._options = _options(address, options)
        self._patience = patience
        self._making = threading.RLock()
        self._begun = self._made = False

    def get_retry(self) -> Retry:
        """How calls are repeated, as a single server's client tells it."""
        return self._patience

    def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        """Run one command, and again where ``patience`` allows."""

        def once() -> Any:
            try:
                self._connect()
                return super(Cluster, self).execute_command(*args, **kwargs)
            except RedisClusterException as error:
                raise _told(error) from error

        return self._patience.call_with_retry(once, lambda _: None)

    def pipeline(self, transaction: Any = True, shard_hint: Any = None) -> Any:  # noqa: ARG002
        """Several commands in one slot, as one transaction."""
        self._connect()
        return super().pipeline(transaction=transaction)

    def scan_iter(self, *args: Any, **kwargs: Any) -> Any:
        """The keys of every node."""
        self._connect()
        return super().scan_iter(*args, **kwargs)

    def get_primaries(self) -> list[ClusterNode]:
        """The nodes that have keys of their own: each has to be looked through by itself."""
        try:
            self._connect()
        except RedisClusterException as error:
            raise _told(error) from error
        found: list[ClusterNode] = super().get_primaries()
        return found

    def close(self) -> None:
        """Close the connections, where there are any."""
        if self._made:
            super().close()

    def _connect(self) -> None:
        if self._made:
            return
        with self._making:  # which redis-py enters again: it asks the nodes for their commands
            if self._begun:
                return
            self._begun = True
            try:
                super().__init__(
                    startup_nodes=list(self._nodes), retry=Retry(NoBackoff(), 0), **self._options
                )
                self._made = True
            finally:
                self._begun = self._made


class AsyncCluster(AsyncRedisCluster):
    """The same for asyncio; it never repeats a call."""

    def __init__(self, address: SharedAddress, options: Mapping[str, Any]) -> None:
        super().__init__(
            startup_nodes=[AsyncNode(*each) for each in address.hosts],
            retry=AsyncRetry(NoBackoff(), 0),
            **_options(address, options),
        )

    async def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        """Run one command."""
        try:
            return await super().execute_command(*args, **kwargs)
        except RedisClusterException as error:
            raise _told(error) from error
