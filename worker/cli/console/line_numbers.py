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
        return ",".join(_range_text(first, last) for first, last in self.ranges)

    @classmethod
    def parse(cls, text: str) -> LineNumbers:
        """Read what `str` writes; ValueError for anything else."""
        found = []
        for part in text.split(","):
            match = _PART.fullmatch(part)
            if match is None or (match[3] and not match[2]):
                raise ValueError(f"{part!r} is not a line number or a range such as 12-15 or 1001-")
            first = int(match[1])
            last = int(match[3]) if match[3] else None if match[2] else first
            if last is not None and last < first:
                raise ValueError(f"{part.strip()!r} is not a range: it ends before it begins")
            found.append((first, last))
        return cls(tuple(found))

    @classmethod
    def of(cls, numbers: Iterable[int], rest_from: int | None = None) -> LineNumbers:
        """Return these ascending numbers, and all from ``rest_from`` on."""
        ranges: list[tuple[int, int | None]] = []
        for number in numbers:
            if ranges and ranges[-1][1] == number - 1:
                ranges[-1] = (ranges[-1][0], number)
            else:
                ranges.append((number, number))
        if rest_from is not None:
            joined = bool(ranges) and ranges[-1][1] == rest_from - 1
            first = ranges.pop()[0] if joined else rest_from
            ranges.append((first, None))
        return cls(tuple(ranges))


def _range_text(first: int, last: int | None) -> str:
    if last is None:
        return f"{first}-"
    return str(first) if first == last else f"{first}-{last}"


class LineNumbersType(click.ParamType[LineNumbers]):
    """The type of an option that takes line numbers."""

    name = "lines"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> LineNumbers:
        """Return the numbers, or fail with a usage error."""
        if isinstance(value, LineNumbers):
            return value
        try:
            return LineNumbers.parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
