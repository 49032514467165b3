"""JSON Lines in and out: read in chunks, numbered as an editor numbers them; refusals written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import click
import orjson

from worker.vendors.serialization import exact

# As many records as one call of the producer takes, and no more bytes than hold Redis up briefly.
CHUNK_LINES = 1000
CHUNK_BYTES = 4 * 1024 * 1024
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # some editors begin a file with it; no JSON parser takes it


@dataclass(frozen=True, slots=True)
class Line:
    """One record and its line number, from 1."""

    number: int
    record: Any


@dataclass(frozen=True, slots=True)
class Rejection:
    """A line that was not taken: why, and what it said (text, where it was no JSON)."""

    number: int
    errors: Mapping[str, Sequence[str]]
    record: Any

    def __str__(self) -> str:
        told = {"line": self.number, "errors": self.errors}
        try:
            return json.dumps({**told, "record": self.record}, ensure_ascii=False)
        except RecursionError:  # nested too deeply: it may be refused for just that
            return json.dumps({**told, "record": None}, ensure_ascii=False)


class Tally:
    """How many lines were accepted and rejected; tells the rejected ones on standard error."""

    def __init__(self) -> None:
        self.accepted = self.rejected = 0
        self._untold: list[Rejection] = []

    def reject(self, rejections: Iterable[Rejection]) -> None:
        """Count them; `tell` writes them."""
        self._untold += rejections

    def tell(self) -> None:
        """Write the rejections since the last time, in the order of their lines."""
        told, self._untold = self._untold, []
        self.rejected += len(told)  # first, for they are rejected even where nobody can be told
        for each in sorted(told, key=lambda rejection: rejection.number):
            click.echo(str(each), err=True)

    def __str__(self) -> str:
        return json.dumps({"accepted": self.accepted, "rejected": self.rejected})


@dataclass(slots=True)
class Chunk:
    """Some lines; ``last`` is the number of the last line read so far."""

    lines: list[Line] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
    last: int = 0


def chunks(
    stream: BinaryIO,
    wanted: Callable[[int], bool] = lambda _: True,
    advance: Callable[[int], object] = lambda _: None,
) -> Iterator[Chunk]:
    """The stream's lines, a chunk at a time; empty lines are skipped.

    ``wanted`` says which line numbers to take, ``advance`` is told the bytes read.
    """
    chunk, size = Chunk(), 0
    for number, raw in enumerate(stream, 1):
        text = raw.removeprefix(_BYTE_ORDER_MARK) if number == 1 else raw
        chunk.last, size = number, size + len(raw)
        if wanted(number) and not text.isspace() and text:
            _take(chunk, number, text)
        if len(chunk.lines) >= CHUNK_LINES or size >= CHUNK_BYTES:
            advance(size)
            yield chunk
            chunk, size = Chunk(last=number), 0
    advance(size)
    yield chunk


def _take(chunk: Chunk, number: int, text: bytes) -> None:
    try:
        chunk.lines.append(Line(number, exact(text)))
    except orjson.JSONDecodeError as error:
        errors = {"line": [_not_utf8(text) or f"is no JSON: {error.msg}, column {error.colno}"]}
        shown = text.decode("utf-8", "replace").rstrip("\r\n")
        chunk.rejected.append(Rejection(number, errors, shown))


def _not_utf8(text: bytes) -> str:
    """Where a line stops being UTF-8, as files in Latin-1, UTF-16 or gzip do; empty when it is."""
    try:
        text.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"is no UTF-8: byte 0x{text[error.start]:02X}, the line's byte {error.start + 1}"
    return ""
