"""What the vendor took, in the order of taking: the other side's word on what was delivered."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

SEQUENCE = "Seq"
EVENT_NAME = "Burned"


def key_of(record: Mapping[str, Any]) -> str:
    """A record's own name: an event has an identity to itself, an update its number within one."""
    if record["type"] == "profile":
        return f"{record['identity']}#{record['profileData'][SEQUENCE]}"
    return str(record["identity"])


class Ledger:
    """Every request's records, and which the vendor took, in a process that nobody kills."""

    def __init__(self) -> None:
        self._requests: list[list[tuple[str, bool]]] = []
        self._lock = threading.Lock()

    def enter(self, records: Sequence[Mapping[str, Any]], codes: Sequence[int | None]) -> None:
        """Note the records of one request in their order: taken, where there is no code."""
        named = [
            (key_of(record), code is None)
            for record, code in zip(records, codes, strict=True)
            if record.get("evtName", EVENT_NAME) == EVENT_NAME  # a probe is no record
        ]
        with self._lock:
            self._requests.append(named)

    def arrivals(self) -> Counter[str]:
        """How often each record was taken."""
        return Counter(key for request in self._requests for key, taken in request if taken)

    def overtaken(self, unsure: Collection[str] = ()) -> list[str]:
        """The updates whose first arrival came after that of a younger one of the same identity.

        The vendor's own doing is left out: an update that it refused at first. So are ``unsure``
        ones, whose producer never learned that they were accepted: they may have been accepted
        after younger ones.
        """
        newest: dict[str, int] = {}
        seen = set(unsure)
        found = []
        for key, taken in (each for request in self._requests for each in request):
            identity, sequence = _update(key)
            if sequence and key not in seen:
                seen.add(key)
                if taken and sequence < newest.get(identity, 0):
                    found.append(key)
            if sequence and taken and key not in unsure:
                newest[identity] = max(sequence, newest.get(identity, 0))
        return found

    def left_behind(self, unsure: Collection[str] = ()) -> list[str]:
        """The updates that had the last word for too long, though a younger one had been taken.

        That may be for a while, when several are sent again together and the vendor takes the
        older ones at first. It is too long when a still younger one is sent, and the one that is
        missing is not sent with it; or when all is over.
        """
        newest: dict[str, int] = {}
        last: dict[str, int] = {}
        found = []
        for request in self._requests:
            updates = [(*_update(key), taken) for key, taken in request if key not in unsure]
            sent = {(identity, sequence) for identity, sequence, _ in updates if sequence}
            for identity, sequence in sent:
                missing = newest.get(identity, 0)
                if last.get(identity, 0) < missing < sequence and (identity, missing) not in sent:
                    found.append(f"{identity}#{last[identity]}")
            for identity, sequence, taken in updates:
                if sequence and taken:
                    last[identity] = sequence
                    newest[identity] = max(sequence, newest.get(identity, 0))
        over = [
            f"{identity}#{last[identity]}" for identity in last if last[identity] < newest[identity]
        ]
        return found + over


def _update(key: str) -> tuple[str, int]:
    """The identity and the number of an update; the number of an event is 0."""
    identity, _, sequence = key.partition("#")
    return identity, int(sequence or 0)
