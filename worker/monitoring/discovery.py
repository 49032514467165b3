"""Finds the destinations that Redis holds totals of, by a SCAN through its keys.

Redis has no list of them: a list would be one more thing that can be wrong, and scripts of a
Cluster could not keep it. The scan costs Redis half a millisecond per thousand keys, and there may
be millions: the gateway keeps a reply per Idempotency-Key for a day, and other programs may share
that Redis. So frequent callers scan a part of the keys each time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import redis

from ..buffer import keys
from ..settings.destination import NAME

_STEP_KEYS = 1000
# For pages and scrapes: 20,000 keys, some ten milliseconds, and nearly everywhere all keys.
SCAN_BUDGET = 20


class DestinationDiscovery:
    """Names destinations; thread-safe. A name stays until a whole scan has missed it.

    ``budget`` limits the steps of one call, a thousand keys each; without it a call scans all.
    """

    def __init__(self, client: redis.Redis, budget: int | None = None) -> None:
        self._client = client
        self._budget = budget
        self._lock = threading.Lock()
        self._known: frozenset[str] = frozenset()
        self._restart()

    def _restart(self) -> None:
        self._found: set[str] = set()
        self._scan = _steps(self._client)

    def names(self) -> frozenset[str]:
        """Continue the scan, and return the names found; RedisError restarts it."""
        with self._lock:
            try:
                for step, found in enumerate(self._scan, 1):
                    self._found |= found
                    if step == self._budget:
                        return self._known | self._found
            except BaseException:
                self._restart()
                raise
            self._known = frozenset(self._found)
            self._restart()
            return self._known


def _steps(client: Any) -> Iterator[set[str]]:
    """Yield the names among each thousand keys, in a Cluster node by node."""
    before, after = keys.counters("\0").split("\0")
    is_cluster = hasattr(client, "get_primaries")
    for node in client.get_primaries() if is_cluster else [None]:
        target, cursor = {"target_nodes": node} if is_cluster else {}, 0
        while True:
            reply, found = client.scan(cursor, f"{before}*{after}", _STEP_KEYS, **target)
            inner = (name.decode("utf-8", "replace")[len(before) : -len(after)] for name in found)
            yield {name for name in inner if NAME.fullmatch(name)}  # not other programs' keys
            # A Cluster returns the cursor under its node's name.
            cursor = next(iter(reply.values()), 0) if is_cluster else reply
            if not cursor:
                break
