"""Which destinations Redis holds totals of, found by a look through its keys.

Redis has no list of them: a list would be one more thing that can be wrong, and a Cluster's scripts
could not keep it. The look costs Redis half a millisecond for a thousand keys, and there may be
millions: the gateway keeps an answer a day for each Idempotency-Key, and others may live there too.
So whoever asks again and again looks through a part of them each time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import redis

from ..buffer import keys
from ..settings.destination import NAME

_STEP_KEYS = 1000
# For pages and scrapes: 20,000 keys, some ten milliseconds, and all there are nearly everywhere.
SCAN_BUDGET = 20


class DestinationDiscovery:
    """Names destinations; thread-safe. What is named once is named until a whole look missed it.

    ``most_steps`` bounds what one call looks through, a thousand keys each; without it, all.
    """

    def __init__(self, client: redis.Redis, most_steps: int | None = None) -> None:
        self._client = client
        self._most_steps = most_steps
        self._lock = threading.Lock()
        self._known: frozenset[str] = frozenset()
        self._begin()

    def _begin(self) -> None:
        self._found: set[str] = set()
        self._look = _steps(self._client)

    def names(self) -> frozenset[str]:
        """Look on; the names found. RedisError when Redis does not answer, and all begins anew."""
        with self._lock:
            try:
                self._look_on()
            except BaseException:
                self._begin()
                raise
            return self._known | self._found

    def _look_on(self) -> None:
        for steps, found in enumerate(self._look, 1):
            self._found |= found
            if steps == self._most_steps:
                return
        self._known = frozenset(self._found)
        self._begin()


def _steps(client: Any) -> Iterator[set[str]]:
    """The names among each thousand keys, in a Cluster node by node; keys of others are none."""
    before, after = keys.counters("\0").split("\0")
    for where in _nodes(client):
        cursor = 0
        while True:
            told, found = client.scan(cursor, f"{before}*{after}", _STEP_KEYS, **where)
            inner = (name.decode("utf-8", "replace")[len(before) : -len(after)] for name in found)
            yield {name for name in inner if NAME.fullmatch(name)}
            # A Cluster tells the cursor under its node's name.
            cursor = next(iter(told.values()), 0) if isinstance(told, dict) else told
            if not cursor:
                break


def _nodes(client: Any) -> list[dict[str, Any]]:
    """What `scan` has to be told, for each server with keys of its own."""
    if not hasattr(client, "get_primaries"):
        return [{}]
    return [{"target_nodes": node} for node in client.get_primaries()]
