"""The end of the story: what was accepted, where it is, and whether the promise was kept."""

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
from .scene import Told

#: Dead letters that the vendor may have taken all the same; their reason says so.
DOUBTFUL = ("unconfirmed", "ambiguous")


def dead_letters(client: redis.Redis, destination: Destination) -> dict[str, str]:
    """Each dead letter's record, by its own name, and why it died."""
    found = {}
    for kind in destination.kinds:
        entries: Any = client.xrange(keys.dead(destination.name, kind))
        for _, fields in entries:
            found[key_of(orjson.loads(stored_body(fields[b"record"])))] = fields[b"reason"].decode()
    return found


@dataclass(frozen=True, slots=True)
class Result:
    """The web apps' account, the vendor's ledger, and what Redis says of both."""

    told: Told
    ledger: Ledger
    dead: Mapping[str, str]
    status: DestinationStatus

    def total(self, name: str) -> int:
        """One of our totals, of all kinds together."""
        return sum(places.totals[name] for places in self.status.kinds.values())

    @property
    def lost(self) -> int:
        """Records that were accepted and are nowhere."""
        return len(self.told.accepted - self.ledger.arrivals().keys() - self.dead.keys())

    @property
    def unknown(self) -> int:
        """Records that are somewhere, though Redis does not count them as accepted; below 0: lost
        ones of which their producers were not sure."""
        return len(self.ledger.arrivals().keys() | self.dead.keys()) - self.total("accepted")

    @property
    def duplicated(self) -> int:
        """How often a record was taken that had been taken before."""
        arrivals = self.ledger.arrivals()
        return arrivals.total() - len(arrivals)

    @property
    def taken_and_dead(self) -> int:
        """Records that the vendor took and that are dead letters, for no reason that says so."""
        sure = [key for key, reason in self.dead.items() if reason not in DOUBTFUL]
        return len(self.ledger.arrivals().keys() & set(sure))

    @property
    def overtaken(self) -> int:
        """Updates that first arrived after a younger one of their identity."""
        return len(self.ledger.overtaken(self.told.unsure))

    @property
    def left_behind(self) -> int:
        """Identities that do not stand at the youngest of the updates that were taken."""
        return len(self.ledger.left_behind(self.told.unsure))

    def rows(self) -> Iterator[tuple[str, str]]:
        """What is printed of it."""
        told, arrivals = self.told, self.ledger.arrivals()
        yield "accepted, as the producers know", f"{len(told.accepted)}"
        yield "maybe accepted: the answer was lost", f"{len(told.unsure)}"
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
        yield "refusals met by the producers", f"{dict(told.refusals)}"

    def broken(self) -> Iterator[str]:
        """What of the promise was not kept, in words."""
        accepted, sure, unsure = self.total("accepted"), self.told.accepted, self.told.unsure
        if self.lost:
            yield f"{self.lost} records are lost"
        if not len(sure) <= accepted <= len(sure) + len(unsure):
            yield "Redis counts other records as accepted than the producers"
        if self.unknown:
            yield "what is somewhere is not what Redis counts as accepted"
        if self.total("delivered") > len(self.ledger.arrivals()):
            yield "more is counted as delivered than the vendor took"
        if accepted != self.total("delivered") + len(self.dead):
            yield "the places do not add up to what was accepted"
        if self.duplicated + self.taken_and_dead > self.total("ambiguous"):
            yield "there are duplicates that the ambiguous counter does not explain"
        if self.overtaken or self.left_behind:
            yield "updates of an identity did not keep their order"
