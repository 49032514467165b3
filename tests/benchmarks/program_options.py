"""The options of a run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """``quick`` takes about a minute, and a full run less than a quarter of an hour."""

    quick: bool
    rounds: int
    only: tuple[str, ...]

    def sized(self, quick: int, full: int) -> int:
        """Return a number of records."""
        return quick if self.quick else full

    @property
    def slow_rounds(self) -> int:
        """Return the rounds of sections that the vendor's latency makes slow and steady."""
        return 1 if self.quick else min(2, self.rounds)

    @property
    def latencies_ms(self) -> tuple[int, ...]:
        """Return the vendor's latencies besides none."""
        return (250,) if self.quick else (50, 250)
