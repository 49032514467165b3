"""Clients of a Redis Cluster that behave like those of a single server.

A destination lives in one slot, so each call goes to one node; redis-py follows MOVED and ASK.
Three of redis-py's surprises are corrected here: it connects in the constructor, repeats calls
without a pause, and raises some errors that are not its RedisError.
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
from redis.exceptions import ClusterError, RedisClusterException, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

from .addresses import SharedAddress

# redis-py raises ClusterError for TRYAGAIN, until a slot has been moved, and for CLUSTERDOWN, until
# the fail-over.
UNSETTLED = (ClusterError,)


def _options(address: SharedAddress, given: Mapping[str, Any]) -> dict[str, Any]:
    options = {**given, **address.connection_options()}
    options.pop("db", None)
    return options


def _node_moved(error: RedisClusterException) -> RedisError:
    """Return the error that made redis-py ask where the slot is now.

    When no node answers that, redis-py raises an error of its own instead. Which one it was decides
    whether a record may have been accepted.
    """
    if isinstance(error.__context__, RedisError):
        return error.__context__
    return RedisConnectionError(f"Error connecting to the cluster: {error}")


class Cluster(RedisCluster):
    """A client that connects when first used, and repeats calls as ``retry`` says."""

    def __init__(self, address: SharedAddress, retry: Retry, options: Mapping[str, Any]) -> None:
        self._options = _options(address, options)
        self._options["startup_nodes"] = [ClusterNode(*each) for each in address.hosts]
        self._retry = retry
        self._making = threading.RLock()
        self._begun = self._made = False

    def get_retry(self) -> Retry:
        return self._retry

    def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        def once() -> Any:
            try:
                self._connect()
                return super(Cluster, self).execute_command(*args, **kwargs)
            except RedisClusterException as error:
                raise _node_moved(error) from error

        return self._retry.call_with_retry(once, lambda _: None)

    def pipeline(self, transaction: Any = True, shard_hint: Any = None) -> Any:  # noqa: ARG002
        self._connect()
        return super().pipeline(transaction=transaction)

    def scan_iter(self, *args: Any, **kwargs: Any) -> Any:
        self._connect()
        return super().scan_iter(*args, **kwargs)

    def get_primaries(self) -> list[ClusterNode]:
        """Return the nodes that have keys of their own."""
        try:
            self._connect()
        except RedisClusterException as error:
            raise _node_moved(error) from error
        found: list[ClusterNode] = super().get_primaries()
        return found

    def close(self) -> None:
        if self._made:
            super().close()

    def _connect(self) -> None:
        if self._made:
            return
        with self._making:  # reentrant: redis-py asks the nodes for their commands through us
            if self._begun:
                return
            self._begun = True
            try:
                super().__init__(retry=Retry(NoBackoff(), 0), **self._options)
                self._made = True
            finally:
                self._begun = self._made


class AsyncCluster(AsyncRedisCluster):
    """A client for asyncio; it repeats no call."""

    def __init__(self, address: SharedAddress, options: Mapping[str, Any]) -> None:
        super().__init__(
            startup_nodes=[AsyncNode(*each) for each in address.hosts],
            retry=AsyncRetry(NoBackoff(), 0),
            **_options(address, options),
        )

    async def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return await super().execute_command(*args, **kwargs)
        except RedisClusterException as error:
            raise _node_moved(error) from error
