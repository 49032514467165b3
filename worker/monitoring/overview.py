"""The destinations that operators see: those enabled, and those with data in Redis."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import redis

from ..buffer import keys
from ..buffer.buffer import Buffer
from ..buffer.status import DestinationStatus
from ..settings.destination import NAME, Destination, KindSettings
from ..settings.settings import Settings
from ..vendors.protocol import Kind, VendorAccount

_STEP_KEYS = 1000
# For pages and scrapes: 20,000 keys, some ten milliseconds, and nearly everywhere all keys.
SCAN_BUDGET = 20


class DestinationDiscovery:
    """Names the destinations that Redis holds totals of, by a SCAN through its keys; thread-safe.

    Redis has no list of them: a list would be one more thing that can be wrong, and scripts of a
    Cluster could not keep it. The scan costs Redis half a millisecond per thousand keys, and there
    may be millions: the gateway keeps a reply per Idempotency-Key for a day, and other programs may
    share that Redis. So frequent callers give a ``budget`` of steps for one call, a thousand keys
    each. A name stays until a whole scan has missed it.
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


@dataclass(frozen=True, slots=True)
class Overview:
    """The buffers to show, in the configuration's order; unconfigured destinations come last."""

    buffers: Mapping[str, Buffer]

    @classmethod
    def of(
        cls,
        settings: Settings,
        client: redis.Redis,
        only: str | None = None,
        discovery: DestinationDiscovery | None = None,
    ) -> Overview:
        """Find ``only`` one destination, or all that are enabled or hold data.

        A destination, or a kind, that was removed from the configuration is included as long as
        Redis knows it; otherwise its records would become invisible. Frequent callers should pass
        a ``discovery``, which scans incrementally. UnknownDestination when ``only`` is unknown.
        """
        if only is not None:
            return cls({only: Buffer(client, _one(settings, client, only))})
        disabled = [each.name for each in settings.destinations.values() if not each.enabled]
        found = {name for name in disabled if _holds_totals(client, name)}
        found |= (discovery or DestinationDiscovery(client)).names()
        shown = {
            each.name: _with_stored_kinds(client, each)
            for each in settings.destinations.values()
            if each.enabled or each.name in found
        }
        unconfigured = sorted(found - settings.destinations.keys())
        shown |= {name: _unconfigured(name) for name in unconfigured}
        return cls({name: Buffer(client, each) for name, each in shown.items()})

    def statuses(self) -> dict[str, DestinationStatus]:
        return {name: buffer.status() for name, buffer in self.buffers.items()}


def _holds_totals(client: redis.Redis, name: str) -> bool:
    return bool(client.exists(keys.counters(name)))


def _one(settings: Settings, client: redis.Redis, name: str) -> Destination:
    if name not in settings.destinations and _holds_totals(client, name):
        return _unconfigured(name)
    return _with_stored_kinds(client, settings.destination(name))


def _with_stored_kinds(client: redis.Redis, destination: Destination) -> Destination:
    """Add the kinds that are in Redis and no longer in the configuration."""
    kinds = destination.account.kinds
    if not (left_out := [kind for kind in kinds if kind not in destination.kinds]):
        return destination
    fields = [f"{kind}:accepted" for kind in left_out]
    totals: Any = client.hmget(keys.counters(destination.name), fields)
    found = {kind: KindSettings(0) for kind, total in zip(left_out, totals, strict=True) if total}
    return replace(destination, kinds={**destination.kinds, **found})


def _unconfigured(name: str) -> Destination:
    """Describe a destination that is in Redis and not in the configuration."""
    return Destination(name, VendorAccount(), kinds={kind: KindSettings(1) for kind in Kind})


def as_json(statuses: Mapping[str, DestinationStatus]) -> dict[str, Any]:
    """Return places and totals in the shape that programs rely on; ages in seconds."""
    return {
        "destinations": {
            name: {
                "state": status.state,
                "reason": status.reason,
                "concurrency": status.concurrency,
                "kinds": {
                    kind: {
                        "buffered": counts.buffered,
                        "in_flight": counts.in_flight,
                        "retrying": counts.retrying,
                        "dead": counts.dead,
                        "oldest_wait_s": counts.oldest_wait_s,
                        "totals": dict(counts.totals),
                    }
                    for kind, counts in status.kinds.items()
                },
            }
            for name, status in statuses.items()
        }
    }
