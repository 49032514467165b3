"""The destinations an operator wants to see: those delivered to, and those with data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import redis

from ..buffer import keys
from ..buffer.buffer import Buffer
from ..buffer.status import DestinationStatus, KindCounts
from ..errors import UnknownDestination
from ..settings.destination import Destination, KindSettings
from ..settings.settings import Settings
from ..vendors.protocol import VendorAccount
from .discovery import DestinationDiscovery

_EVERY_KIND = ("event", "profile", "token")


@dataclass(frozen=True, slots=True)
class Overview:
    """The buffers of the destinations shown, in the configuration's order; strangers come last."""

    buffers: Mapping[str, Buffer]

    @classmethod
    def of(
        cls,
        settings: Settings,
        client: redis.Redis,
        only: str | None = None,
        discovery: DestinationDiscovery | None = None,
    ) -> Overview:
        """Look which destinations there are: ``only`` one, or all that are enabled or hold data.

        A destination, or a kind of one, that was taken out of the configuration is shown as long
        as Redis knows it: its records would else be lost to sight. Who asks often brings a
        ``census`` that looks through a part of Redis' keys at a time. UnknownDestination when
        ``only`` is neither.
        """
        if only is not None:
            return cls({only: Buffer(client, _one(settings, client, only))})
        unused = [each.name for each in settings.destinations.values() if not each.enabled]
        found = {name for name in unused if _holds_totals(client, name)}
        found |= (discovery or DestinationDiscovery(client)).names()
        shown = {
            each.name: _whole(client, each)
            for each in settings.destinations.values()
            if each.enabled or each.name in found
        }
        shown |= {name: _stranger(name) for name in sorted(found - settings.destinations.keys())}
        return cls({name: Buffer(client, each) for name, each in shown.items()})

    def statuses(self) -> dict[str, DestinationStatus]:
        """Where every record is now, by destination."""
        return {name: buffer.status() for name, buffer in self.buffers.items()}


def buffer_of(settings: Settings, client: redis.Redis, name: str) -> Buffer | None:
    """The buffer of one destination; None when neither settings nor Redis know it."""
    try:
        return Overview.of(settings, client, only=name).buffers[name]
    except UnknownDestination:
        return None


def _holds_totals(client: redis.Redis, name: str) -> bool:
    return bool(client.exists(keys.counters(name)))


def _one(settings: Settings, client: redis.Redis, name: str) -> Destination:
    if name not in settings.destinations and _holds_totals(client, name):
        return _stranger(name)
    return _whole(client, settings.destination(name))


def _whole(client: redis.Redis, destination: Destination) -> Destination:
    """The destination, with the kinds that are in Redis and not in its configuration any more."""
    kinds = destination.account.kinds
    if not (left_out := [kind for kind in kinds if kind not in destination.kinds]):
        return destination
    fields = [f"{kind}:accepted" for kind in left_out]
    totals: Any = client.hmget(keys.counters(destination.name), fields)
    found = {kind: KindSettings(0) for kind, total in zip(left_out, totals, strict=True) if total}
    return replace(destination, kinds={**destination.kinds, **found})


def _stranger(name: str) -> Destination:
    """A destination that is in Redis and not in the configuration."""
    return Destination(
        name=name, account=VendorAccount(), kinds={kind: KindSettings(1) for kind in _EVERY_KIND}
    )


def as_json(statuses: Mapping[str, DestinationStatus]) -> dict[str, Any]:
    """The places and totals in the shape that programs rely on; ages in seconds."""
    return {
        "destinations": {
            name: {
                "state": status.state,
                "reason": status.reason,
                "concurrency": status.concurrency,
                "kinds": {kind: _kind(places) for kind, places in status.kinds.items()},
            }
            for name, status in statuses.items()
        }
    }


def _kind(places: KindCounts) -> dict[str, Any]:
    return {
        "buffered": places.buffered,
        "in_flight": places.in_flight,
        "retrying": places.retrying,
        "dead": places.dead,
        "oldest_wait_s": places.oldest_wait_s,
        "totals": dict(places.totals),
    }
