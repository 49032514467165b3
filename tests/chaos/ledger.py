"""What the vendor accepted, in order: the other side's record of what was delivered."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

SEQUENCE = "Seq"
EVENT_NAME = "Burned"


def key_of(record: Mapping[str, Any]) -> str:
    """Return a record's name: an event has its own identity, an update a number within one."""
    if record["type"] == "profile":
        return f"{record['identity']}#{record['profileData'][SEQUENCE]}"
    return str(record["identity"])


class Ledger:
    """The records of every request, and those accepted, in a process that is never killed."""

    def __init__(self) -> None:
        self._requests: list[list[tuple[str, bool]]] = []
        self._lock = threading.Lock()

    def enter(self, records: Sequence[Mapping[str, Any]], codes: Sequence[int | None]) -> None:
        """Add the records of one request in order; those without a code were accepted."""
        named = [
            (key_of(record), code is None)
            for record, code in zip(records, codes, strict=True)
            if record.get("evtName", EVENT_NAME) == EVENT_NAME  # a probe does not count
        ]
        with self._lock:
            self._requests.append(named)

    def arrivals(self) -> Counter[str]:
        """Return how often each record was accepted."""
        return Counter(key for request in self._requests for key, taken in request if taken)

    def overtaken(self, unsure: Collection[str] = ()) -> list[str]:
        """Return the updates that first arrived after a newer one of the same identity.

        Updates that the vendor rejected at first do not count. Neither do ``unsure`` ones: their
        producer never got the response, and they may have been accepted after newer ones.
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
        """Return the updates that stayed last for too long, after a newer one had been accepted.

        Briefly this is fine: when several are sent again together, the vendor may accept the older
        ones first. It is too long if a still newer one is sent without the missing one, or at the
        end of the run.
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
    """Return the identity and the number of an update; the number of an event is 0."""
    identity, _, sequence = key.partition("#")
    return identity, int(sequence or 0)
