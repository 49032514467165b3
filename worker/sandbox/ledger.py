"""The records the vendors accepted, in order of arrival.

Counts stay exact; only the newest requests keep the bodies of their records. Duplicates are equal
bodies among those still kept.
"""

from __future__ import annotations

import itertools
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class LedgerRecord(NamedTuple):
    """An accepted record: ``ts`` in epoch seconds, ``body`` its JSON."""

    vendor: str
    kind: str
    name: str
    ts: int
    body: bytes


class TallyKey(NamedTuple):
    """The key of a count: ``day`` is yyyymmdd in the account's time zone."""

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
    """The counts of one vendor, apart from those in `Ledger.tally`."""

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
        """Forget everything, including counts."""
        self.tally: Counter[TallyKey] = Counter()
        self.totals: dict[str, VendorTotals] = {}
        self.kept = 0
        self._chunks: deque[_Chunk] = deque()
        self._contents: Counter[bytes] = Counter()
        self._spellings: dict[str, str] = {}

    def of(self, vendor: str) -> VendorTotals:
        """Return the running totals of ``vendor``."""
        return self.totals.setdefault(vendor, VendorTotals())

    def add(self, vendor: str, rows: Sequence[LedgerRecord]) -> int:
        """Add the records of one request; return the number of duplicates."""
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
        """Remove the ``count`` oldest ``wanted`` records with a kept body, from the counts too;
        return the number removed."""
        removed = 0
        for chunk in self._chunks:
            rows = list(chunk.rows()) if removed < count else []
            doomed = list(itertools.islice(filter(wanted, rows), count - removed))
            if doomed:
                removed += len(doomed)
                self._drop(chunk, rows, doomed)
        return removed

    def _drop(
        self, chunk: _Chunk, rows: Sequence[LedgerRecord], doomed: Sequence[LedgerRecord]
    ) -> None:
        for row in doomed:
            self.tally[TallyKey(row.vendor, row.kind, row.name, self.day_of(row.ts))] -= 1
            self._forget_content(row.body)
        identities = set(map(id, doomed))  # equal records are several
        left = [row for row in rows if id(row) not in identities]
        chunk.kinds, chunk.names = [row.kind for row in left], [row.name for row in left]
        chunk.stamps, chunk.bodies = array("q", [r.ts for r in left]), [row.body for row in left]
        self.kept -= len(doomed)
        self.of(chunk.vendor).removed += len(doomed)


def _fitted(bodies: list[bytes]) -> list[bytes]:
    """Copy each body to memory of its own size: orjson 3.13 returns buffers of some 4 kB for 200
    bytes (measured). Compact JSON contains no line feed."""
    return b"\n".join(bodies).split(b"\n")
