"""The destinations that operators see: those enabled, and those with data in Redis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import redis

from ..buffer import keys
from ..buffer.buffer import Buffer
from ..buffer.status import DestinationStatus, KindCounts
from ..settings.destination import Destination, KindSettings
from ..settings.settings import Settings
from ..vendors.protocol import Kind, VendorAccount
from .discovery import DestinationDiscovery


@dataclass(frozen=True, slots=True)
class Overview:
    """Their buffers, in the configuration's order; unconfigured destinations come last."""

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
                "kinds": {kind: _kind(counts) for kind, counts in status.kinds.items()},
            }
            for name, status in statuses.items()
        }
    }


def _kind(counts: KindCounts) -> dict[str, Any]:
    return {
        "buffered": counts.buffered,
        "in_flight": counts.in_flight,
        "retrying": counts.retrying,
        "dead": counts.dead,
        "oldest_wait_s": counts.oldest_wait_s,
        "totals": dict(counts.totals),
    }
