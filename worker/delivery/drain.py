"""The tick, every second: recover expired leases, claim what is due or ready, ask for its delivery.

Any number of drains may run at once, on any number of machines: each claim is one atomic step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..buffer.buffer import Buffer
from ..buffer.claims import Claim
from ..buffer.history import History
from ..settings.destination import Destination
from ..telemetry.logs import get_logger

log = get_logger(__name__)


class Dispatch(NamedTuple):
    """How a drain asks for work: by messages to whichever worker is free."""

    deliver: Callable[[Destination, Claim], None]
    probe: Callable[[Destination], None]


class Drain:
    """The tick of one destination."""

    def __init__(self, destination: Destination, buffer: Buffer, dispatch: Dispatch) -> None:
        self.destination, self.buffer, self.dispatch = destination, buffer, dispatch
        self._history = History(buffer.client, destination)

    def tick(self, *, unbegun: bool = False) -> int:
        """Recover (as `Buffer.recover`), check, claim; return the number of batches dispatched."""
        if self.check(unbegun=unbegun):
            self.dispatch.probe(self.destination)
        dispatched = self.dispatch_ready()
        self._history.sample()  # last: a missing sample must not delay deliveries
        return dispatched

    def check(self, *, unbegun: bool = False) -> bool:
        """Recover expired leases, and note that a drain ran; return whether a probe is due."""
        recovered = self.buffer.recover(unbegun=unbegun)
        if recovered.died:
            log.warning(
                "batches taken back from workers that did not come back",
                destination=self.destination.name,
                batches=recovered.died,
                ambiguous=recovered.records,
            )
        memory_full, probe_due = self.buffer.tick()
        if memory_full:
            log.error(
                "Redis is nearly out of memory: producers are refused",
                destination=self.destination.name,
            )
        return probe_due

    def dispatch_ready(self) -> int:
        """Claim while a batch is ready and a lease is free; return the number of claims.

        If the broker does not accept a message, the claim is given back immediately, and the next
        tick tries again.
        """
        claims = 0
        while (claim := self.buffer.claim(begun=False)) is not None:
            try:
                self.dispatch.deliver(self.destination, claim)
            except Exception as error:  # noqa: BLE001 - whatever the broker's client raises
                self.buffer.recover(unbegun=True)
                log.warning(
                    "could not publish to the broker",
                    destination=self.destination.name,
                    error=type(error).__name__,
                )
                return claims
            claims += 1
        return claims
