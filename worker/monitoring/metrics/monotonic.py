"""Keeps totals from going back when Redis lost its last moment.

A fail-over, or a crash of Redis' machine, may take back the last second (docs/scaling.md).
Prometheus knows no small step back: it takes any for a restart from zero, and `increase` would
count all that was ever delivered, or died, as of this minute. So such a total stands until it has
caught up.
"""

from __future__ import annotations

from typing import Final

# What falls to less than this share began anew: another Redis, or one that was emptied.
ANEW: Final = 0.5

Key = tuple[str, ...]
Totals = tuple[float, ...]


class Ratchet:
    """Remembers what was told, for as long as the process lives."""

    def __init__(self) -> None:
        self._told: dict[Key, Totals] = {}

    def upward(self, key: Key, totals: Totals) -> Totals:
        """What to tell of totals that belong together, the largest last: a counter's own, or a
        histogram's buckets after its sum."""
        before = self._told.get(key, totals)
        if before[-1] * ANEW <= totals[-1] < before[-1]:
            return before
        self._told[key] = totals
        return totals
