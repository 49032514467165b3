"""The result: what was accepted, where it is, and whether the promise was kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import redis

from worker.buffer import keys
from worker.buffer.records import stored_body
from worker.buffer.status import DestinationStatus
from worker.settings.destination import Destination

from .ledger import Ledger, key_of
from .scene import ProducerCounts

#: Reasons of dead letters that the vendor may have accepted anyway.
DOUBTFUL = ("unconfirmed", "ambiguous")


def dead_letters(client: redis.Redis, destination: Destination) -> dict[str, str]:
    """Return each dead letter's record name and reason."""
    found = {}
    for kind in destination.kinds:
        entries: Any = client.xrange(keys.dead(destination.name, kind))
        for _, fields in entries:
            found[key_of(orjson.loads(stored_body(fields[b"record"])))] = fields[b"reason"].decode()
    return found


@dataclass(frozen=True, slots=True)
class Result:
    """The web apps' counts, the vendor's ledger, and the counts in Redis."""

    producers: ProducerCounts
    ledger: Ledger
    dead: Mapping[str, str]
    status: DestinationStatus

    def total(self, name: str) -> int:
        """Return one of our totals, over all kinds."""
        return sum(places.totals[name] for places in self.status.kinds.values())

    @property
    def lost(self) -> int:
        """Return the number of accepted records that are nowhere."""
        return len(self.producers.accepted - self.ledger.arrivals().keys() - self.dead.keys())

    @property
    def unknown(self) -> int:
        """Return the number of records that exist but that Redis does not count as accepted.

        Below 0, records were lost that their producers were not sure about.
        """
        return len(self.ledger.arrivals().keys() | self.dead.keys()) - self.total("accepted")

    @property
    def duplicated(self) -> int:
        """Return how often a record was accepted again."""
        arrivals = self.ledger.arrivals()
        return arrivals.total() - len(arrivals)

    @property
    def taken_and_dead(self) -> int:
        """Return the number of accepted records that are dead letters without a doubtful reason."""
        sure = [key for key, reason in self.dead.items() if reason not in DOUBTFUL]
        return len(self.ledger.arrivals().keys() & set(sure))

    @property
    def overtaken(self) -> int:
        """Return the number of updates that first arrived after a newer one."""
        return len(self.ledger.overtaken(self.producers.unsure))

    @property
    def left_behind(self) -> int:
        """Return the number of identities without their newest update at the end."""
        return len(self.ledger.left_behind(self.producers.unsure))

    def rows(self) -> Iterator[tuple[str, str]]:
        """Yield the printed rows."""
        producers, arrivals = self.producers, self.ledger.arrivals()
        yield "accepted, as the producers know", f"{len(producers.accepted)}"
        yield "maybe accepted: the answer was lost", f"{len(producers.unsure)}"
        yield "accepted, as Redis counts", f"{self.total('accepted')}"
        yield "delivered, by the vendor's ledger", f"{len(arrivals)}"
        yield "delivered, as Redis counts", f"{self.total('delivered')}"
        yield "dead", f"{len(self.dead)}  {dict(Counter(self.dead.values()))}"
        yield "lost", f"{self.lost}"
        yield "unknown", f"{self.unknown}"
        yield "duplicated", f"{self.duplicated}"
        yield "ambiguous", f"{self.total('ambiguous')}"
        yield "taken, and a dead letter", f"{self.taken_and_dead}"
        yield "order: first arrivals overtaken", f"{self.overtaken}"
        yield "order: identities left behind", f"{self.left_behind}"
        yield "requests", f"{self.total('attempts')}  {dict(self.status.answers)}"
        yield "refusals met by the producers", f"{dict(producers.refusals)}"

    def broken(self) -> Iterator[str]:
        """Yield a message for each broken part of the promise."""
        accepted, sure, unsure = (
            self.total("accepted"),
            self.producers.accepted,
            self.producers.unsure,
        )
        if self.lost:
            yield f"{self.lost} records are lost"
        if not len(sure) <= accepted <= len(sure) + len(unsure):
            yield "Redis and the producers disagree on the accepted records"
        if self.unknown:
            yield "the existing records are not those that Redis counts as accepted"
        if self.total("delivered") > len(self.ledger.arrivals()):
            yield "more records are counted as delivered than the vendor accepted"
        if accepted != self.total("delivered") + len(self.dead):
            yield "the places do not add up to what was accepted"
        if self.duplicated + self.taken_and_dead > self.total("ambiguous"):
            yield "there are duplicates that the ambiguous counter does not explain"
        if self.overtaken or self.left_behind:
            yield "updates of an identity did not keep their order"
