"""What the vendors took, in the order it arrived: the account that tests reconcile against.

Counts are exact for ever; bodies are kept for the newest records alone, a whole request at a time.
Duplicates are found among the bodies still kept, by content: two equal bodies are one too many.
"""

from __future__ import annotations

import itertools
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class Row(NamedTuple):
    """A record as it was taken: ``ts`` in epoch seconds, ``body`` its JSON."""

    vendor: str
    kind: str
    name: str
    ts: int
    body: bytes


class Entry(NamedTuple):
    """What names an event for counting: ``day`` is yyyymmdd in the account's time zone."""

    vendor: str
    kind: str
    name: str
    day: int


@dataclass(slots=True)
class _Chunk:
    """The records of one request, by column: a tuple for each would double the memory."""

    vendor: str
    kinds: list[str]
    names: list[str]
    stamps: array[int]
    bodies: list[bytes]

    def rows(self) -> Iterator[Row]:
        for kind, name, ts, body in zip(
            self.kinds, self.names, self.stamps, self.bodies, strict=True
        ):
            yield Row(self.vendor, kind, name, ts, body)


@dataclass(slots=True)
class Totals:
    """Everything that was ever counted for one vendor, save what `Ledger.tally` holds."""

    requests: Counter[int] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    rehearsed: int = 0
    removed: int = 0


class Ledger:
    """Not thread-safe: the server is one event loop, and nothing here waits."""

    def __init__(self, keep_records: int, day_of: Callable[[int], int]) -> None:
        self._keep = keep_records
        self.day_of = day_of
        self.reset()

    def reset(self) -> None:
        """Forget everything, counts included."""
        self.tally: Counter[Entry] = Counter()
        self.totals: dict[str, Totals] = {}
        self.kept = 0
        self._chunks: deque[_Chunk] = deque()
        self._contents: Counter[bytes] = Counter()
        self._spellings: dict[str, str] = {}

    def of(self, vendor: str) -> Totals:
        """The running totals of ``vendor``."""
        return self.totals.setdefault(vendor, Totals())

    def take(self, vendor: str, rows: Sequence[Row]) -> int:
        """Enter the records of one request; returns how many were duplicates."""
        if not rows:
            return 0
        _, kinds, names, stamps, bodies = map(list, zip(*rows, strict=True))
        bodies = _fitted(bodies)
        # One string for all records of a name: each request parsed brings copies of its own.
        names = [self._spellings.setdefault(name, name) for name in names]
        counts = Counter(zip(kinds, names, map(self.day_of, stamps), strict=True))
        for (kind, name, day), count in counts.items():
            self.tally[Entry(vendor, kind, name, day)] += count
        before = len(self._contents)
        self._contents.update(bodies)
        duplicates = len(bodies) - (len(self._contents) - before)
        self.of(vendor).duplicates += duplicates
        self._chunks.append(_Chunk(vendor, kinds, names, array("q", stamps), bodies))
        self.kept += len(bodies)
        self._forget_oldest()
        return duplicates

    def _forget_oldest(self) -> None:
        while len(self._chunks) > 1 and self.kept - len(self._chunks[0].bodies) >= self._keep:
            chunk = self._chunks.popleft()
            self.kept -= len(chunk.bodies)
            for body in chunk.bodies:
                self._forget_content(body)

    def _forget_content(self, body: bytes) -> None:
        if self._contents[body] > 1:
            self._contents[body] -= 1
        else:
            del self._contents[body]

    def rows(self) -> Iterator[Row]:
        """The records still kept, oldest first; safe against records arriving meanwhile."""
        return itertools.chain.from_iterable(chunk.rows() for chunk in tuple(self._chunks))

    def newest(self, count: int) -> list[Row]:
        """The last ``count`` records kept, newest first."""
        newest_first = (
            row for chunk in reversed(self._chunks) for row in reversed([*chunk.rows()])
        )
        return list(itertools.islice(newest_first, count))

    def remove(self, wanted: Callable[[Row], bool], count: int) -> int:
        """Take the ``count`` oldest records that are ``wanted`` off the vendor's side, uncounting
        them too; returns how many there were. Only kept bodies can be removed."""
        removed = 0
        for chunk in self._chunks:
            if removed >= count:
                break
            rows = list(chunk.rows())
            doomed = {
                index
                for index, row in enumerate(rows)
                if wanted(row) and (removed := removed + 1) <= count
            }
            if doomed:
                self._drop(chunk, rows, doomed)
        return min(removed, count)

    def _drop(self, chunk: _Chunk, rows: Sequence[Row], doomed: set[int]) -> None:
        for index in doomed:
            row = rows[index]
            entry = Entry(row.vendor, row.kind, row.name, self.day_of(row.ts))
            self.tally[entry] -= 1
            self._forget_content(row.body)
        left = [row for index, row in enumerate(rows) if index not in doomed]
        chunk.kinds = [row.kind for row in left]
        chunk.names = [row.name for row in left]
        chunk.stamps = array("q", [row.ts for row in left])
        chunk.bodies = [row.body for row in left]
        self.kept -= len(doomed)
        self.of(chunk.vendor).removed += len(doomed)


def _fitted(bodies: list[bytes]) -> list[bytes]:
    """The same bodies, each in memory of its own size: what orjson 3.13 returns holds on to some
    4 kB (measured), and a body has 200 bytes. Compact JSON has no line feed of its own."""
    return b"\n".join(bodies).split(b"\n")
