"""Finds where one record is now, with its attempts and last response.

A record's id carries the time of its acceptance, so lists and streams sorted by time are searched
first where it belongs. Replayed records and producers' clocks break that order, so a record not
found there is searched for everywhere before it is called unknown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import redis

from ..buffer import keys
from ..buffer.records import accepted_at_ms
from ..buffer.scripts import script
from ..dead_letters.letters import CLOCK_MARGIN_MS, DeadLetter, DeadLetters
from ..settings.destination import Destination

# A record that moves during the search may slip past once (a replay puts it behind us), hardly in
# each of three rounds.
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Buffered:
    """Accepted and not yet claimed; ``position`` 1 is the next of its partition."""

    destination: str
    kind: str
    partition: int
    position: int


@dataclass(frozen=True, slots=True)
class InFlight:
    """In a batch: in flight until its lease ends, or waiting until it is due (epoch ms).

    ``deaths`` counts workers that died with it; ``error`` is the last answer's text, if any.
    """

    destination: str
    kind: str
    in_flight: bool
    batch: str
    attempts: int
    deaths: int
    error: str
    due_ms: int


@dataclass(frozen=True, slots=True)
class DeliveredRecord:
    """Accepted by the vendor: in which batch, when (epoch ms), with which answer."""

    destination: str
    kind: str
    batch: str
    at_ms: int
    answer: str


Location = Buffered | InFlight | DeadLetter | DeliveredRecord


class RecordLocator:
    """Searches for records of one destination."""

    page_records = 2000  # of a list: about a millisecond of Redis' time
    page_settlements = 20  # of the journal: up to 5000 ids each

    def __init__(self, client: redis.Redis, destination: Destination) -> None:
        self.client = client
        self.destination = destination
        self._base = keys.base(destination.name)

    def find(self, record_id: str) -> Location | None:
        """Return where the record (32 hex digits) is; None when no trace of it is left.

        Places are searched in the order in which a record passes through them.
        """
        for _ in range(ROUNDS):
            found = (
                self._buffered(record_id)
                or self._in_batch(record_id)
                or DeadLetters(self.client, self.destination).find(record_id)
                or self._delivered(record_id)
            )
            if found:
                return found
        return None

    def _buffered(self, record_id: str) -> Buffered | None:
        partitions = list(self._partitions())
        for guess in (True, False):
            for kind, partition in partitions:
                listed = f"pending:{kind}:{partition}"
                if position := self._position(listed, record_id, guess=guess):
                    return Buffered(self.destination.name, kind, partition, position)
        return None

    def _partitions(self) -> Iterator[tuple[str, int]]:
        for kind in self.destination.kinds:
            partitions = {0}
            layouts: Any = self.client.lrange(keys.layout(self.destination.name, kind), 0, -1)
            for entry in layouts:
                first, count = map(int, entry.split(b":"))
                partitions.update(range(first, first + count))
            yield from ((kind, partition) for partition in sorted(partitions))

    def _position(self, listed: str, record_id: str, *, guess: bool = False) -> int:
        """Return the record's position in a list, or 0; with ``guess``, look where it belongs."""
        searched = 0
        while True:
            arguments = (listed, record_id, self.page_records, "guess" if guess else searched)
            found = script("find_listed").run(self.client, self._base, *arguments)
            if found[0] or guess or found[1] == b"1":
                return int(found[0])
            searched += self.page_records

    def _in_batch(self, record_id: str) -> InFlight | None:
        batches: Any = self.client.hkeys(keys.batches(self.destination.name))
        for raw in batches:
            batch = raw.decode()
            if self._position(f"batch:{batch}", record_id) and (found := self._batch(batch)):
                return found
        return None

    def _batch(self, batch_id: str) -> InFlight | None:
        """Return what is known of a batch; None when it was settled in the meantime."""
        name = self.destination.name
        # No transaction: a full Redis would refuse even reads in one.
        with self.client.pipeline(transaction=False) as pipeline:
            pipeline.hget(keys.batches(name), batch_id)
            pipeline.zscore(keys.leases(name), batch_id)
            raw, leased_until = pipeline.execute()
        if raw is None:
            return None
        batch: dict[str, Any] = json.loads(raw)
        return InFlight(
            destination=name,
            kind=batch["kind"],
            in_flight=leased_until is not None,
            batch=batch_id,
            attempts=int(batch["attempt"]),
            deaths=int(batch["deaths"]),
            error=batch["error"],
            due_ms=int(batch.get("due", 0) if leased_until is None else leased_until),
        )

    def _delivered(self, record_id: str) -> DeliveredRecord | None:
        """Find the settlement that delivered it: after its acceptance, unless a clock was wrong."""
        accepted = f"{max(1, accepted_at_ms(record_id) - CLOCK_MARGIN_MS)}-0"
        entry = self._settlement(record_id, "+", accepted)
        entry = entry or self._settlement(record_id, f"({accepted}", "-")
        journal = keys.journal(self.destination.name)
        found: Any = self.client.xrange(journal, entry, entry) if entry else []
        if not found:
            return None  # unknown, or trimmed from the journal just now
        fields = found[0][1]
        return DeliveredRecord(
            destination=self.destination.name,
            kind=fields[b"kind"].decode(),
            batch=fields[b"batch"].decode(),
            at_ms=int(entry.partition("-")[0]),
            answer=fields[b"answer"].decode(),
        )

    def _settlement(self, record_id: str, newest: str, oldest: str) -> str:
        while True:
            arguments = (bytes.fromhex(record_id), newest, oldest, self.page_settlements)
            entry, last = script("find_delivered").run(self.client, self._base, *arguments)
            if entry or not last:
                return str(entry.decode())
            newest = f"({last.decode()}"
