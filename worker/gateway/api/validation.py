"""Validate a request's records in turns, so that other requests are served in between.

Validation runs in the event loop, and a request may carry a thousand records: 25 ms of ordinary
ones, half a second of the worst that a body has room for. Meanwhile no other request is served.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TypeVar

from worker.producer.encoder import EnqueueBatch, Rejected, group_records
from worker.settings.destination import Destination
from worker.vendors.protocol import Prepared

T = TypeVar("T")
TURN_S = 0.005
# One turn is enough for this many ordinary records. Of the requests with more, one at a time takes
# turns, so that all others wait for one turn only, however many requests there are.
FEW = 100


@dataclass(frozen=True, slots=True)
class ValidatedRecords:
    """A request's valid records, kind by kind, and the rejected ones, in order."""

    batches: Sequence[EnqueueBatch]
    rejections: Sequence[Rejected]


class RecordValidator:
    """Validates the requests of one event loop."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._large = asyncio.Lock()

    async def validate(
        self,
        destination: Destination,
        records: Sequence[T],
        prepare: Callable[[T], Prepared | None],
    ) -> ValidatedRecords:
        """Validate and group records as `group_records` does; cancelling enqueues nothing."""
        rejections: list[Rejected] = []
        batches: list[EnqueueBatch] = []
        async with self._large if len(records) > FEW else nullcontext():
            turn_ends = self._clock() + TURN_S
            for batch in group_records(destination, records, prepare, rejections):
                if batch is not None:
                    batches.append(batch)
                elif self._clock() > turn_ends:
                    await asyncio.sleep(0)
                    turn_ends = self._clock() + TURN_S
        return ValidatedRecords(batches, rejections)
