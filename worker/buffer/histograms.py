"""The bounds of the distributions that are counted in Redis, and where a number falls. Pure.

A distribution is one counter for each bucket and one for the sum, so a request costs four more
increments in the script that counts it, and all processes share the counters.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence

BEYOND = "+Inf"  # Prometheus' name for the last bucket

# A healthy upload takes a tenth of a second to two; 30 s is the default timeout of a request, and
# one over its time still has to be distinguished from one with a longer timeout.
REQUEST_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0)
# The vendors' limits are among them: 50 commands, 100 profiles, 1000 events; larger accounts 5000.
BATCH_RECORDS = (1.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2500.0, 5000.0)


def bound(value: float, bounds: Sequence[float]) -> str:
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
