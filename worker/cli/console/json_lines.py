"""JSON Lines in and out: read in chunks, numbered as an editor does; rejections are written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NamedTuple

import click
import orjson

from worker.vendors.json_values import exact

# As many records as one call of the producer takes, and few enough bytes to hold Redis up briefly.
CHUNK_LINES = 1000
CHUNK_BYTES = 4 * 1024 * 1024
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # some editors begin a file with it; JSON parsers refuse it

_PART = re.compile(r"\s*([1-9]\d*)\s*(-)?\s*([1-9]\d*)?\s*")  # of line numbers

Errors = Mapping[str, Sequence[str]]


class InputLine(NamedTuple):
    """A line's number, from 1, and its record; its text if it is not valid JSON."""

    number: int
    record: Any


@dataclass(frozen=True, slots=True)
class LineNumbers:
    """Line numbers as a person writes them, `7,12-15,1001-`: ranges, ends included.

    An end of None means the end of the file.
    """

    ranges: tuple[tuple[int, int | None], ...] = ((1, None),)

    def __contains__(self, number: int) -> bool:
        return any(first <= number <= (last or number) for first, last in self.ranges)

    def __str__(self) -> str:
        texts = (f"{a}" if a == b else f"{a}-{b or ''}" for a, b in self.ranges)
        return ",".join(texts)

    @classmethod
    def parse(cls, text: str) -> LineNumbers:
        """Read what `str` writes; BadParameter for anything else."""
        found = []
        for part in text.split(","):
            match = _PART.fullmatch(part)
            if match is None or (match[3] and not match[2]):
                what = "a line number or a range such as 12-15 or 1001-"
                raise click.BadParameter(f"{part!r} is not {what}")
            first = int(match[1])
            last = int(match[3]) if match[3] else None if match[2] else first
            if last is not None and last < first:
                what = f"{part.strip()!r} is not a range"
                raise click.BadParameter(f"{what}: it ends before it begins")
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


@dataclass(slots=True)
class Chunk:
    """Some lines, and those that are not JSON; ``last`` is the number of the last one read."""

    lines: list[InputLine] = field(default_factory=list)
    rejected: list[tuple[InputLine, Errors]] = field(default_factory=list)
    last: int = 0

    def add(self, number: int, text: bytes) -> None:
        """Parse a line, or reject it if it is not valid JSON."""
        try:
            self.lines.append(InputLine(number, exact(text)))
        except orjson.JSONDecodeError as error:
            why = _not_utf8(text) or f"is not valid JSON: {error.msg}, column {error.colno}"
            shown = text.decode("utf-8", "replace").rstrip("\r\n")
            self.rejected.append((InputLine(number, shown), {"line": [why]}))


def _with_record(line: InputLine, errors: Errors) -> str:
    reported = {"line": line.number, "errors": errors}
    try:
        return json.dumps({**reported, "record": line.record}, ensure_ascii=False)
    except RecursionError:  # nested too deeply, which may be why it was rejected
        return json.dumps({**reported, "record": None}, ensure_ascii=False)


class Tally:
    """Counts accepted and rejected lines; reports the rejected ones on standard error."""

    def __init__(self, describe: Callable[[InputLine, Errors], str] = _with_record) -> None:
        self.accepted = self.rejected = 0
        self._describe = describe
        self._unreported: list[tuple[int, str]] = []

    def reject(self, line: InputLine, errors: Errors) -> None:
        """Count a line that was not accepted, and note it for the report."""
        self.note(line.number, self._describe(line, errors))

    def note(self, number: int, text: str) -> None:
        """Count a line that was not accepted; ``text`` is what is reported."""
        self.rejected += 1
        self._unreported.append((number, text))

    @contextmanager
    def reporting(self, chunk: Chunk) -> Iterator[None]:
        """Report a chunk's rejected lines at the end of the block, in order, even if it fails."""
        for line, errors in chunk.rejected:
            self.reject(line, errors)
        try:
            yield
        finally:
            found, self._unreported = self._unreported, []
            for _, text in sorted(found, key=lambda noted: noted[0]):
                click.echo(text, err=True)

    def __str__(self) -> str:
        return json.dumps({"accepted": self.accepted, "rejected": self.rejected})


def chunks(
    stream: BinaryIO,
    wanted: Callable[[int], bool] = lambda _: True,
    advance: Callable[[int], object] = lambda _: None,
) -> Iterator[Chunk]:
    """Yield the stream's lines, a chunk at a time, without empty lines.

    ``wanted`` chooses by line number; ``advance`` is called with the number of bytes read.
    """
    chunk, size = Chunk(), 0
    for number, raw in enumerate(stream, 1):
        text = raw.removeprefix(_BYTE_ORDER_MARK) if number == 1 else raw
        chunk.last, size = number, size + len(raw)
        if wanted(number) and text.strip():
            chunk.add(number, text)
        if len(chunk.lines) >= CHUNK_LINES or size >= CHUNK_BYTES:
            advance(size)
            yield chunk
            chunk, size = Chunk(last=number), 0
    advance(size)
    yield chunk


def _not_utf8(text: bytes) -> str:
    """Return where a line stops being UTF-8, as Latin-1, UTF-16 and gzip do; empty if it is."""
    try:
        text.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = f"byte 0x{text[error.start]:02X} at position {error.start + 1}"
        return f"is not valid UTF-8: {byte}"
    return ""
