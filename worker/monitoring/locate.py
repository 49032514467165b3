"""Finds where one record is now, with its attempts and last response.

A record's id carries the time of its acceptance, so lists and streams sorted by time are searched
first where it belongs. Replayed records and producers' clocks break that order, so a record not
found there is searched for everywhere before it is called unknown.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import redis

from ..buffer import keys
from ..buffer.records import accepted_at_ms
from ..buffer.scripts import script
from ..dead_letters.letters import CLOCK_MARGIN_MS, DeadLetters, iso
from ..settings.destination import Destination

# A record that moves during the search may slip past once (a replay puts it behind us), hardly in
# each of three rounds.
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Location:
    """Where a record is: the place, and what is known of it there, as `ingest trace` shows them."""

    destination: str
    kind: str
    place: str
    details: Mapping[str, Any]


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
                or self._dead(record_id)
                or self._delivered(record_id)
            )
            if found:
                return found
        return None

    def _location(self, kind: str, place: str, **details: Any) -> Location:
        return Location(self.destination.name, kind, place, details)

    def _buffered(self, record_id: str) -> Location | None:
        """Find it among the records not yet claimed; position 1 is the next of its partition."""
        partitions = list(self._partitions())
        for guess in (True, False):
            for kind, partition in partitions:
                listed = f"pending:{kind}:{partition}"
                if position := self._position(listed, record_id, guess=guess):
                    return self._location(kind, "buffered", partition=partition, position=position)
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

    def _in_batch(self, record_id: str) -> Location | None:
        batches: Any = self.client.hkeys(keys.batches(self.destination.name))
        for raw in batches:
            batch = raw.decode()
            if self._position(f"batch:{batch}", record_id) and (found := self._batch(batch)):
                return found
        return None

    def _batch(self, batch_id: str) -> Location | None:
        """Return a batch in flight, or one that waits; None when it was settled in the meantime."""
        name = self.destination.name
        # No transaction: a full Redis would refuse even reads in one.
        with self.client.pipeline(transaction=False) as pipeline:
            pipeline.hget(keys.batches(name), batch_id)
            pipeline.zscore(keys.leases(name), batch_id)
            raw, leased_until = pipeline.execute()
        if raw is None:
            return None
        batch: dict[str, Any] = json.loads(raw)
        due_ms = int(batch.get("due", 0) if leased_until is None else leased_until)
        return self._location(
            batch["kind"],
            "retrying" if leased_until is None else "in_flight",
            batch=batch_id,
            attempts=int(batch["attempt"]),
            worker_deaths=int(batch["deaths"]),
            last_answer=batch["error"] or None,
            **{"due_at" if leased_until is None else "lease_ends_at": iso(due_ms)},
        )

    def _dead(self, record_id: str) -> Location | None:
        letter = DeadLetters(self.client, self.destination).find(record_id)
        if letter is None:
            return None
        return self._location(
            letter.kind,
            "dead",
            reason=letter.reason,
            code=letter.code,
            error=letter.error,
            attempts=letter.attempts,
            failed_at=iso(letter.failed_at_ms),
        )

    def _delivered(self, record_id: str) -> Location | None:
        """Find the settlement that delivered it: after its acceptance, unless a clock was wrong."""
        accepted = f"{max(1, accepted_at_ms(record_id) - CLOCK_MARGIN_MS)}-0"
        entry = self._settlement(record_id, "+", accepted)
        entry = entry or self._settlement(record_id, f"({accepted}", "-")
        journal = keys.journal(self.destination.name)
        found: Any = self.client.xrange(journal, entry, entry) if entry else []
        if not found:
            return None  # unknown, or trimmed from the journal just now
        fields = found[0][1]
        return self._location(
            fields[b"kind"].decode(),
            "delivered",
            batch=fields[b"batch"].decode(),
            delivered_at=iso(int(entry.partition("-")[0])),
            answer=fields[b"answer"].decode(),
        )

    def _settlement(self, record_id: str, newest: str, oldest: str) -> str:
        while True:
            arguments = (bytes.fromhex(record_id), newest, oldest, self.page_settlements)
            entry, last = script("find_delivered").run(self.client, self._base, *arguments)
            if entry or not last:
                return str(entry.decode())
            newest = f"({last.decode()}"
