"""Where a destination's records are: the counts of one look into Redis.

Distributions are counted by bucket, with one more counter for the sum, so a request costs four more
increments in the script that counts it, and all processes share the counters.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from ..settings.destination import Destination
from .records import accepted_at_ms

STATUSES = ("running", "paused", "parked")
# The drain ticks every second, and the watchdog in its place while no beat runs.
SILENT_AFTER_S = 30.0
_TIMES = ("since", "ticked_at", "reconciled_at")
TOTALS = ("accepted", "delivered", "dead_lettered", "replayed", "purged", "ambiguous", "attempts")


@dataclass(frozen=True, slots=True)
class RequestStats:
    """How long the requests of one kind took, and how many records they had.

    Counts by the names of buckets, and sums in ms and records. If its
    worker died, a request is in neither: its duration is unknown.
    """

    took: Mapping[str, int] = field(default_factory=dict)
    took_ms: int = 0
    sizes: Mapping[str, int] = field(default_factory=dict)
    records: int = 0


@dataclass(frozen=True, slots=True)
class KindCounts:
    """Where the records of one kind are, and the totals since the beginning."""

    buffered: int
    in_flight: int
    retrying: int
    dead: int
    oldest_wait_s: float
    totals: Mapping[str, int]
    requests: RequestStats = field(default_factory=RequestStats)

    @property
    def open(self) -> int:
        """Records that are still on their way."""
        return self.buffered + self.in_flight + self.retrying

    @property
    def adds_up(self) -> bool:
        """True if every accepted record is in exactly one place."""
        gone = self.totals["delivered"] + self.totals["purged"]
        return self.totals["accepted"] == self.open + self.dead + gone


@dataclass(frozen=True, slots=True)
class DestinationStatus:
    """A destination at one moment; ``answers`` counts the vendor's answers by status.

    ``expired`` counts leases that ran out: `begun` (a worker died) and `waiting` (none began).
    ``missing`` is by how many events the vendor's counts of past days were too low when they were
    last compared (``reconciled_ms``). ``retry_in_s`` is above 0 during a back-off.
    """

    state: str
    reason: str | None
    since_ms: int | None
    concurrency: int
    in_use: int
    kinds: Mapping[str, KindCounts]
    codes: Mapping[str, Mapping[str, int]]
    answers: Mapping[str, int]
    last_tick_ms: int | None
    ticks: int = 0
    memory_full: bool = False
    expired: Mapping[str, int] = field(default_factory=dict)
    reconciled_ms: int | None = None
    missing: int = 0
    retry_in_s: int = 0

    def silent_s(self, now_ms: int) -> float:
        """Return the seconds without a drain: 0 up to 30 of them; infinity if none ever ran."""
        if self.last_tick_ms is None:
            return math.inf
        silent_s = (now_ms - self.last_tick_ms) / 1000
        return silent_s if silent_s > SILENT_AFTER_S else 0.0

    @classmethod
    def of(cls, destination: Destination, answer: Sequence[Any]) -> Self:
        """Return the parsed reply of the script `status`."""
        state, counters = _texts(answer[0]), _texts(answer[-1])
        kinds: dict[str, KindCounts] = {}
        codes: dict[str, dict[str, int]] = {}
        for kind, (buffered, in_flight, retrying, dead, oldest) in zip(
            destination.kinds, answer[3:-1], strict=True
        ):
            waited_ms = answer[2] - accepted_at_ms(oldest.decode()) if oldest else 0
            totals = {name: int(counters.get(f"{kind}:{name}", 0)) for name in TOTALS}
            requests = RequestStats(
                took=_prefixed(counters, f"{kind}:took:"),
                took_ms=int(counters.get(f"{kind}:took_ms", 0)),
                sizes=_prefixed(counters, f"{kind}:size:"),
                records=int(counters.get(f"{kind}:size", 0)),
            )
            places = buffered, in_flight, retrying, dead, max(0, waited_ms) / 1000
            kinds[kind] = KindCounts(*places, totals, requests)
            codes[kind] = _prefixed(counters, f"{kind}:code:")
        times = {key: int(state[key]) for key in _TIMES if key in state}
        retry_in_s = max(0, (int(float(state.get("open_at", 0))) - answer[2]) // 1000)
        back_off = f"retrying in {retry_in_s} s, after failures or at the vendor's request"
        return cls(
            state=state.get("status", "running"),
            reason=state.get("reason") or (back_off if retry_in_s else None),
            since_ms=times.get("since"),
            concurrency=int(state.get("concurrency", destination.concurrency)),
            in_use=answer[1],
            kinds=kinds,
            codes=codes,
            answers=_prefixed(counters, "answer:"),
            last_tick_ms=times.get("ticked_at"),
            ticks=int(state.get("ticks", 0)),
            memory_full=state.get("memory_full") == "1",
            expired=_prefixed(counters, "lease:"),
            reconciled_ms=times.get("reconciled_at"),
            missing=int(state.get("missing", 0)),
            retry_in_s=retry_in_s,
        )


def _texts(flat: Sequence[bytes]) -> dict[str, str]:
    decoded = [each.decode("utf-8", "replace") for each in flat]
    return dict(zip(decoded[::2], decoded[1::2], strict=True))


def _prefixed(counters: Mapping[str, str], prefix: str) -> dict[str, int]:
    return {
        key.removeprefix(prefix): int(n) for key, n in counters.items() if key.startswith(prefix)
    }


BEYOND = "+Inf"  # Prometheus' name for the last bucket

# A healthy upload takes a tenth of a second to two; 30 s is the default timeout of a request, and
# one over its time still has to be distinguished from one with a longer timeout.
REQUEST_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0)
# The vendors' limits are among them: 50 commands, 100 profiles, 1000 events; larger accounts 5000.
BATCH_RECORDS = (1.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2500.0, 5000.0)


def bucket_of(value: float, bounds: Sequence[float]) -> str:
    """Return the name of a number's bucket: its upper bound, inclusive."""
    at = bisect_left(bounds, value)
    return f"{bounds[at]:g}" if at < len(bounds) else BEYOND


def cumulative(found: Mapping[str, int], bounds: Sequence[float]) -> Iterator[tuple[str, int]]:
    """Yield each bucket with the count of all numbers up to its bound; the last has them all.

    Numbers that were counted under other bounds, by a version before, are in the last bucket only.
    """
    total = 0
    for each in bounds:
        total += found.get(f"{each:g}", 0)
        yield f"{each:g}", total
    yield BEYOND, sum(found.values())
