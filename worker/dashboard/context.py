"""What the pages work with: Redis, its destinations, the vendors, the audit log and the clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import redis

from worker.buffer.buffer import Buffer
from worker.dead_letters.letters import DeadLetters
from worker.dead_letters.replay import Replayer
from worker.dead_letters.replay_check import CheckBatch
from worker.monitoring.discovery import SCAN_BUDGET, DestinationDiscovery
from worker.monitoring.overview import Overview
from worker.settings.destination import Destination
from worker.settings.settings import Settings

from .audit_log import AuditLog

# For each of four tries: a person waits before an empty page, where a delivery has all the time.
DRY_RUN_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Context:
    """Shared by all pages of a process; ``now`` returns epoch seconds."""

    settings: Settings
    client: redis.Redis
    audit: AuditLog
    now: Callable[[], float] = time.time
    _discovery: DestinationDiscovery = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_discovery", DestinationDiscovery(self.client, SCAN_BUDGET))

    def buffers(self) -> Mapping[str, Buffer]:
        """Return the buffers of the destinations to show, by name."""
        return Overview.of(self.settings, self.client, discovery=self._discovery).buffers

    def buffer(self, name: str) -> Buffer:
        """Return a buffer; UnknownDestination if neither settings nor Redis know the name."""
        return Overview.of(self.settings, self.client, only=name).buffers[name]

    def letters(self, destination: Destination) -> DeadLetters:
        """Return a destination's dead letters."""
        return DeadLetters(self.client, destination)

    def replayer(self, destination: Destination) -> Replayer:
        """Return what re-enqueues a destination's dead letters."""
        return Replayer(self.client, destination, now=self.now)


@contextmanager
def vendor_check(destination: Destination) -> Iterator[CheckBatch]:
    """Open a dry run with the vendor; SettingsError if the destination has no secrets.

    The vendor's side is imported on first use: a gateway that only accepts records needs no HTTP
    client.
    """
    from worker.delivery.dry_run import dry_run

    with dry_run(destination, min(destination.request_timeout_s, DRY_RUN_TIMEOUT_S)) as opened:
        yield opened.verdicts
