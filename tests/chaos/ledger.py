"""What the vendor took, in the order of taking: the other side's word on what was delivered."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

SEQUENCE = "Seq"


def key_of(record: Mapping[str, Any]) -> str:
    """A record's own name: an event has an identity to itself, an update its number within one."""
    if record["type"] == "profile":
        return f"{record['identity']}#{record['profileData'][SEQUENCE]}"
    return str(record["identity"])


class Ledger:
    """Every record the vendor took, in a process that nobody kills."""

    def __init__(self) -> None:
        self._taken: list[str] = []
        self._asked_again: set[str] = set()
        self._lock = threading.Lock()

    def enter(self, records: Sequence[Mapping[str, Any]], codes: Sequence[int | None]) -> None:
        """Note the records of one request in their order: taken, where there is no code."""
        named = [(key_of(record), code) for record, code in zip(records, codes, strict=True)]
        with self._lock:
            self._taken += [key for key, code in named if code is None]
            self._asked_again.update(key for key, code in named if code is not None)

    def arrivals(self) -> Counter[str]:
        """How often each record was taken."""
        return Counter(self._taken)

    def overtaken(self, unsure: Collection[str] = ()) -> list[str]:
        """The updates whose first arrival came after that of a younger one of the same identity.

        The vendor's own doing is left out: an update that it refused at first. So are ``unsure``
        ones, whose producer never learned that they were accepted: they may have been accepted
        after younger ones.
        """
        newest: dict[str, int] = {}
        found = []
        for identity, sequence, key in self._updates(unsure, dict.fromkeys(self._taken)):
            if sequence < newest.get(identity, 0) and key not in self._asked_again:
                found.append(key)
            newest[identity] = max(sequence, newest.get(identity, 0))
        return found

    def left_behind(self, unsure: Collection[str] = ()) -> list[str]:
        """The updates that had the last word though a younger one of their identity was taken."""
        newest: dict[str, int] = {}
        last: dict[str, tuple[int, str]] = {}
        for identity, sequence, key in self._updates(unsure, self._taken):
            newest[identity] = max(sequence, newest.get(identity, 0))
            last[identity] = sequence, key
        return [key for identity, (sequence, key) in last.items() if sequence < newest[identity]]

    @staticmethod
    def _updates(unsure: Collection[str], keys: Collection[str]) -> Iterator[tuple[str, int, str]]:
        for key in keys:
            identity, separator, sequence = key.partition("#")
            if separator and key not in unsure:
                yield identity, int(sequence), key
