"""The measurements: named series, their medians and spreads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any


@dataclass(slots=True)
class Series:
    """One figure, measured once per round."""

    section: str
    name: str
    unit: str
    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Return the median."""
        return median(self.values)


class Results:
    """All series, by section and name; `facts` describes the machine and the run."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        self.facts = dict(facts)
        self.series: dict[tuple[str, str], Series] = {}

    def add(self, section: str, name: str, unit: str, value: float) -> None:
        """Add one round's figure."""
        self.series.setdefault((section, name), Series(section, name, unit)).values.append(value)

    def median(self, section: str, name: str) -> float | None:
        """Return the median of a series, or None if it was not measured."""
        found = self.series.get((section, name))
        return found.median if found else None

    def least(self, section: str, name: str) -> float | None:
        """Return the minimum of a series, for CPU seconds, which other load only increases."""
        found = self.series.get((section, name))
        return min(found.values) if found else None

    def ratio(self, section: str, name: str, base: str) -> float | None:
        """Return the ratio of two medians of one section."""
        one, other = self.median(section, name), self.median(section, base)
        return one / other if one is not None and other else None

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON."""
        series = [
            {
                "section": each.section,
                "name": each.name,
                "unit": each.unit,
                "median": each.median,
                "values": each.values,
            }
            for each in self.series.values()
        ]
        return {"facts": self.facts, "series": series}


Contender = Callable[[], None]


def in_turn(contenders: list[Contender], rounds: int) -> None:
    """Run each contender once per round, in reverse every other round, to spread disturbances."""
    for number in range(rounds):
        for contend in contenders if number % 2 == 0 else reversed(contenders):
            contend()
