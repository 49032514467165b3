"""The records the vendors accepted, in order of arrival, and the days of an account.

Counts stay exact; only the newest requests keep the bodies of their records. Duplicates are equal
bodies among those still kept.
"""

from __future__ import annotations

import itertools
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

# Every zone in use is offset by a multiple of 15 minutes, so a quarter of an hour has one day.
_QUARTER_S = 900
_CACHED_QUARTERS = 100_000  # 2.8 years of them
_LATEST_TS = 253_402_214_400  # 9999-12-31


class AccountTime:
    """Days and times in an account's time zone; ZoneInfoNotFoundError for an unknown zone."""

    def __init__(self, zone: str) -> None:
        self._zone = ZoneInfo(zone)
        self._days: dict[int, int] = {}

    def day_of(self, ts: int) -> int:
        """Return the day of ``ts`` (epoch seconds) as yyyymmdd."""
        quarter = ts // _QUARTER_S
        day = self._days.get(quarter)
        if day is None:
            if len(self._days) >= _CACHED_QUARTERS:
                self._days.clear()
            day = self._days[quarter] = self.second_of(ts) // 1_000_000
        return day

    def second_of(self, ts: int) -> int:
        """Return the second of ``ts`` (epoch seconds) as yyyymmddhhmmss."""
        # A vendor accepts any number; milliseconds taken for seconds lie past the year 9999.
        at = datetime.fromtimestamp(min(max(ts, 0), _LATEST_TS), self._zone)
        return int(at.strftime("%Y%m%d%H%M%S"))


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
        columns = zip(self.kinds, self.names, self.stamps, self.bodies, strict=True)
        return (LedgerRecord(self.vendor, *row) for row in columns)


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

    def __init__(self, keep_records: int, time: AccountTime) -> None:
        self._keep, self.time = keep_records, time
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

    def add(self, vendor: str, rows: Sequence[LedgerRecord]) -> None:
        """Add the records of one request, and forget the oldest above the bound."""
        if not rows:
            return
        _, kinds, names, stamps, bodies = map(list, zip(*rows, strict=True))
        bodies = _fitted(bodies)
        # One string for all records of a name: each parsed request brings its own copy.
        names = [self._spellings.setdefault(name, name) for name in names]
        counts = Counter(zip(kinds, names, map(self.time.day_of, stamps), strict=True))
        for (kind, name, day), count in counts.items():
            self.tally[TallyKey(vendor, kind, name, day)] += count
        before = len(self._contents)
        self._contents.update(bodies)
        self.of(vendor).duplicates += len(bodies) - (len(self._contents) - before)
        self._chunks.append(_Chunk(vendor, kinds, names, array("q", stamps), bodies))
        self.kept += len(bodies)
        while len(self._chunks) > 1 and self.kept - len(self._chunks[0].bodies) >= self._keep:
            self._forget(self._chunks.popleft().bodies)

    def rows(self) -> Iterator[LedgerRecord]:
        """Yield the kept records, oldest first; records may arrive meanwhile."""
        return itertools.chain.from_iterable(chunk.rows() for chunk in tuple(self._chunks))

    def newest(self, count: int) -> list[LedgerRecord]:
        """Return the last ``count`` records kept, newest first."""
        chunks = (reversed([*chunk.rows()]) for chunk in reversed(self._chunks))
        return list(itertools.islice(itertools.chain.from_iterable(chunks), count))

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
        for vendor, kind, name, ts, _ in doomed:
            self.tally[TallyKey(vendor, kind, name, self.time.day_of(ts))] -= 1
        identities = set(map(id, doomed))  # equal records are several
        left = [row for row in rows if id(row) not in identities]
        chunk.kinds, chunk.names = [row.kind for row in left], [row.name for row in left]
        chunk.stamps, chunk.bodies = array("q", [r.ts for r in left]), [row.body for row in left]
        self._forget([row.body for row in doomed])
        self.of(chunk.vendor).removed += len(doomed)

    def _forget(self, bodies: Sequence[bytes]) -> None:
        self.kept -= len(bodies)
        for body in bodies:
            if self._contents[body] > 1:
                self._contents[body] -= 1
            else:
                del self._contents[body]


def _fitted(bodies: list[bytes]) -> list[bytes]:
    """Copy each body to memory of its own size: orjson 3.13 returns buffers of some 4 kB for 200
    bytes (measured). Compact JSON contains no line feed."""
    return b"\n".join(bodies).split(b"\n")
