"""A request's records, checked one after another, with room for other requests in between.

Checking is the event loop's own time, and a request may bring a thousand records: 25 ms of ordinary
ones, half a second of the worst that a body has room for. Meanwhile nobody else would be served.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TypeVar

from worker.errors import InvalidRecord
from worker.producer.encoder import EnqueueBatch, Rejected, add
from worker.settings.destination import Destination
from worker.vendors.protocol import Prepared

T = TypeVar("T")
TURN_S = 0.005
# So many ordinary records take one turn. Of those who need more, one at a time takes turns, so that
# the others wait for one turn, however many they are.
FEW = 100


@dataclass(frozen=True, slots=True)
class ValidatedRecords:
    """What became of a request's records: the valid ones kind by kind, and the others, in order."""

    calls: Sequence[EnqueueBatch]
    rejections: Sequence[Rejected]


class RecordValidator:
    """One for each event loop."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._many = asyncio.Lock()

    async def validate(
        self,
        destination: Destination,
        records: Sequence[T],
        prepare: Callable[[T], Prepared | None],
    ) -> ValidatedRecords:
        """Prepare each record; one that raises InvalidRecord is refused, and None is passed over.

        Nothing was enqueued by it, whenever it is cancelled.
        """
        async with self._many if len(records) > FEW else nullcontext():
            return await self._sifted(destination, records, prepare)

    async def _sifted(
        self,
        destination: Destination,
        records: Sequence[T],
        prepare: Callable[[T], Prepared | None],
    ) -> ValidatedRecords:
        calls: dict[str, EnqueueBatch] = {}
        rejections: list[Rejected] = []
        ends = self._clock() + TURN_S
        for position, record in enumerate(records):
            if self._clock() > ends:
                await asyncio.sleep(0)
                ends = self._clock() + TURN_S
            try:
                prepared = prepare(record)
            except InvalidRecord as error:
                rejections.append(Rejected(position, error))
                continue
            if prepared is not None:
                call = calls.get(prepared.kind)
                if call is None:
                    call = calls[prepared.kind] = EnqueueBatch(prepared.kind)
                add(call, prepared, destination.timezone)
        return ValidatedRecords(list(calls.values()), rejections)
