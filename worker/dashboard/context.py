"""What the pages work with: Redis, its destinations, the vendors and the audit log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import redis

from worker.buffer.buffer import Buffer
from worker.dead_letters.replay_check import CheckBatch
from worker.monitoring.overview import DestinationDiscovery, Overview
from worker.settings.destination import Destination
from worker.settings.settings import Settings

from .audit_log import AuditLog

# For each of four tries: a person waits before an empty page, where a delivery has all the time.
DRY_RUN_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Context:
    """Shared by all pages of a process."""

    settings: Settings
    client: redis.Redis
    discovery: DestinationDiscovery
    audit: AuditLog

    def buffers(self) -> Mapping[str, Buffer]:
        """Return the buffers of the destinations to show, by name."""
        return Overview.of(self.settings, self.client, discovery=self.discovery).buffers

    def buffer(self, name: str) -> Buffer:
        """Return a buffer; UnknownDestination if neither settings nor Redis know the name."""
        return Overview.of(self.settings, self.client, only=name).buffers[name]


@contextmanager
def vendor_check(destination: Destination) -> Iterator[CheckBatch]:
    """Open a dry run with the vendor; SettingsError if the destination has no secrets.

    The vendor's side is imported on first use: a gateway that only accepts records needs no HTTP
    client.
    """
    from worker.delivery.dry_run import dry_run

    with dry_run(destination, min(destination.request_timeout_s, DRY_RUN_TIMEOUT_S)) as opened:
        yield opened.verdicts
