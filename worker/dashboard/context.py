"""What the pages work with: Redis, the destinations in it, the audit, and the clock."""

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

from .audit_log import Audit


@dataclass(frozen=True, slots=True)
class Context:
    """One for all pages of a process; ``now`` is in epoch seconds."""

    settings: Settings
    client: redis.Redis
    audit: Audit
    now: Callable[[], float] = time.time
    _discovery: DestinationDiscovery = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_discovery", DestinationDiscovery(self.client, SCAN_BUDGET))

    def buffers(self) -> Mapping[str, Buffer]:
        """The destinations that are shown, by name."""
        return Overview.of(self.settings, self.client, discovery=self._discovery).buffers

    def buffer(self, name: str) -> Buffer | None:
        """The one of that name, if settings or Redis know it."""
        return buffer_of(self.settings, self.client, name)

    def state(self, destination: Destination) -> str:
        """Whether it delivers: running, paused or parked."""
        return Buffer(self.client, destination).status().state

    def letters(self, destination: Destination) -> DeadLetters:
        """Its dead letters."""
        return DeadLetters(self.client, destination)

    def replays(self, destination: Destination) -> Replayer:
        """The way back for them."""
        return Replayer(self.client, destination, now=self.now)
