"""What the vendors accepted, in order of arrival: what tests reconcile against.

Counts stay exact; only the newest records keep their bodies, a whole request at a time.
Duplicates are found among the bodies still kept, by content: two equal bodies are one too many.
"""

from __future__ import annotations

import itertools
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class LedgerRecord(NamedTuple):
    """A record as it was taken: ``ts`` in epoch seconds, ``body`` its JSON."""

    vendor: str
    kind: str
    name: str
    ts: int
    body: bytes


class TallyKey(NamedTuple):
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

    def rows(self) -> Iterator[LedgerRecord]:
        for kind, name, ts, body in zip(
            self.kinds, self.names, self.stamps, self.bodies, strict=True
        ):
            yield LedgerRecord(self.vendor, kind, name, ts, body)


@dataclass(slots=True)
class VendorTotals:
    """Everything that was ever counted for one vendor, save what `Ledger.tally` holds."""

    requests: Counter[int] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    duplicates: int = 0
    dry_run_records: int = 0
    removed: int = 0


class Ledger:
    """Not thread-safe: the server is one event loop, and nothing here waits."""

    def __init__(self, keep_records: int, day_of: Callable[[int], int]) -> None:
        self._keep = keep_records
        self.day_of = day_of
        self.reset()

    def reset(self) -> None:
        """Forget everything, counts included."""
        self.tally: Counter[TallyKey] = Counter()
        self.totals: dict[str, VendorTotals] = {}
        self.kept = 0
        self._chunks: deque[_Chunk] = deque()
        self._contents: Counter[bytes] = Counter()
        self._spellings: dict[str, str] = {}

    def of(self, vendor: str) -> VendorTotals:
        """Return the running totals of ``vendor``."""
        return self.totals.setdefault(vendor, VendorTotals())

    def take(self, vendor: str, rows: Sequence[LedgerRecord]) -> int:
        """Enter the records of one request; return how many were duplicates."""
        if not rows:
            return 0
        _, kinds, names, stamps, bodies = map(list, zip(*rows, strict=True))
        bodies = _fitted(bodies)
        # One string for all records of a name: each parsed request brings its own copy.
        names = [self._spellings.setdefault(name, name) for name in names]
        counts = Counter(zip(kinds, names, map(self.day_of, stamps), strict=True))
        for (kind, name, day), count in counts.items():
            self.tally[TallyKey(vendor, kind, name, day)] += count
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

    def rows(self) -> Iterator[LedgerRecord]:
        """Yield the kept records, oldest first; records may arrive meanwhile."""
        return itertools.chain.from_iterable(chunk.rows() for chunk in tuple(self._chunks))

    def newest(self, count: int) -> list[LedgerRecord]:
        """Return the last ``count`` records kept, newest first."""
        newest_first = (
            row for chunk in reversed(self._chunks) for row in reversed([*chunk.rows()])
        )
        return list(itertools.islice(newest_first, count))

    def remove(self, wanted: Callable[[LedgerRecord], bool], count: int) -> int:
        """Remove the ``count`` oldest ``wanted`` records from the vendor's side and its counts;
        return how many there were. Only kept bodies can be removed."""
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

    def _drop(self, chunk: _Chunk, rows: Sequence[LedgerRecord], doomed: set[int]) -> None:
        for index in doomed:
            row = rows[index]
            entry = TallyKey(row.vendor, row.kind, row.name, self.day_of(row.ts))
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
    """Copy each body to memory of its own size: orjson 3.13 returns buffers of some 4 kB
    (measured) for 200 bytes. Compact JSON contains no line feed."""
    return b"\n".join(bodies).split(b"\n")
