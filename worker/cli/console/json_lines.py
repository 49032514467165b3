"""JSON Lines in and out: read in chunks, numbered as an editor does; rejections are written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
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

Errors = Mapping[str, Sequence[str]]


class InputLine(NamedTuple):
    """A line's number, from 1, and its record; its text if it is not valid JSON."""

    number: int
    record: Any


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
