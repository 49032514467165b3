"""What the pages work with: Redis, its destinations, the audit log and the clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import redis

from worker.buffer.buffer import Buffer
from worker.dead_letters.letters import DeadLetters
from worker.dead_letters.replay import Replayer
from worker.monitoring.discovery import SCAN_BUDGET, DestinationDiscovery
from worker.monitoring.overview import Overview, buffer_of
from worker.settings.destination import Destination
from worker.settings.settings import Settings

from .audit_log import AuditLog


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

    def buffer(self, name: str) -> Buffer | None:
        """Return a destination's buffer; None if neither settings nor Redis know the name."""
        return buffer_of(self.settings, self.client, name)

    def state(self, destination: Destination) -> str:
        """Return whether a destination is running, paused or parked."""
        return Buffer(self.client, destination).status().state

    def letters(self, destination: Destination) -> DeadLetters:
        """Return a destination's dead letters."""
        return DeadLetters(self.client, destination)

    def replayer(self, destination: Destination) -> Replayer:
        """Return what re-enqueues a destination's dead letters."""
        return Replayer(self.client, destination, now=self.now)
