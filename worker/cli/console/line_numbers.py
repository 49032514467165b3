"""Line numbers as a person writes them: `7,12-15,1001-`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import click

_PART = re.compile(r"\s*([1-9]\d*)\s*(-)?\s*([1-9]\d*)?\s*")


@dataclass(frozen=True, slots=True)
class LineNumbers:
    """Ranges of line numbers, both ends included; an end of None means the end of the file."""

    ranges: tuple[tuple[int, int | None], ...] = ((1, None),)

    def __contains__(self, number: int) -> bool:
        return any(first <= number <= (last or number) for first, last in self.ranges)

    def __str__(self) -> str:
        return ",".join(
            str(first) if first == last else f"{first}-{last or ''}" for first, last in self.ranges
        )

    @classmethod
    def parse(cls, text: str) -> LineNumbers:
        """Read what `str` writes; BadParameter for anything else."""
        found = []
        for part in text.split(","):
            match = _PART.fullmatch(part)
            if match is None or (match[3] and not match[2]):
                raise click.BadParameter(
                    f"{part!r} is not a line number or a range such as 12-15 or 1001-"
                )
            first = int(match[1])
            last = int(match[3]) if match[3] else None if match[2] else first
            if last is not None and last < first:
                raise click.BadParameter(
                    f"{part.strip()!r} is not a range: it ends before it begins"
                )
            found.append((first, last))
        return cls(tuple(found))

    @classmethod
    def of(cls, numbers: Iterable[int], rest_from: int | None = None) -> LineNumbers:
        """Return these ascending numbers, and all from ``rest_from`` on."""
        ranges: list[tuple[int, int | None]] = []
        more = [] if rest_from is None else [(rest_from, None)]
        for first, last in (*((number, number) for number in numbers), *more):
            joined = bool(ranges) and ranges[-1][1] == first - 1
            ranges.append((ranges.pop()[0] if joined else first, last))
        return cls(tuple(ranges))
