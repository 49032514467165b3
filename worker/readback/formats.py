"""The file formats of an export: JSON Lines, CSV and Parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, Final

import orjson

from ..errors import InvalidQuery

FORMATS: Final = ("jsonl", "csv", "parquet")
_OF_PROFILE: Final = ("identity", "objectId", "platform", "email")
_WHOLE: Final = ("event_props", "session_props", "profile")
#: The same for every event, so that one pass writes an export of any size.
COLUMNS: Final = ("ts", *_OF_PROFILE, *_WHOLE, "other")
ROWS_AT_ONCE: Final = 5000


class JsonLines:
    """One event a line, as the vendor wrote it; ``header`` comes before the first page."""

    header = b""

    def encode(self, records: Iterable[Mapping[str, Any]]) -> bytes:
        """Encode a page; every event ends with a line feed."""
        return b"".join([_json(record) + b"\n" for record in records])


class Csv:
    """One event a row. The columns are COLUMNS, or paths into it such as ``event_props.Price``.

    Objects are JSON in their cell; with COLUMNS nothing of an event is left out.
    """

    def __init__(self, paths: Sequence[str] = ()) -> None:
        self._paths = [path.split(".") for path in paths]
        self.header = _csv_rows([paths or COLUMNS])

    def encode(self, records: Iterable[Mapping[str, Any]]) -> bytes:
        return _csv_rows(map(self._row, records))

    def _row(self, record: Mapping[str, Any]) -> Sequence[Any]:
        if not self._paths:
            return list(columns(record).values())
        return [_cell(_at(record, path)) for path in self._paths]


def encoder_of(name: str, paths: Sequence[str] = ()) -> JsonLines | Csv:
    """Return a format's encoder; Parquet is converted from JSON Lines at the end."""
    return Csv(paths) if name == "csv" else JsonLines()


def format_of(out: Path | None, name: str | None, paths: Sequence[str] = ()) -> str:
    """Return the given format, else the one of the file's suffix, else JSON Lines.

    Raises InvalidQuery for an unavailable format, before any request.
    """
    suffix = out.suffix.lower().removeprefix(".") if out else ""
    chosen = name or (suffix if suffix in FORMATS else "jsonl")
    if chosen not in FORMATS:
        raise InvalidQuery(f"unknown format {chosen!r}; choose one of: {', '.join(FORMATS)}")
    if paths and chosen != "csv":
        raise InvalidQuery("only CSV has columns to choose; the other formats hold everything")
    if chosen == "parquet" and out is None:
        raise InvalidQuery("Parquet cannot go to standard output: name a file with --out")
    if chosen == "parquet" and find_spec("pyarrow") is None:
        raise InvalidQuery(
            "Parquet needs pyarrow, which is not installed: "
            "`pip install 'ingestion-worker[export]'`, or choose jsonl or csv"
        )
    return chosen


def columns(record: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten an event to COLUMNS, objects as JSON text; ``other`` holds the other fields."""
    profile = record.get("profile")
    known = profile if isinstance(profile, Mapping) else {}
    row: dict[str, Any] = {"ts": _cell(record.get("ts"))}
    row |= {name: _cell(known.get(name)) for name in _OF_PROFILE}
    row |= {name: _cell(record.get(name)) for name in _WHOLE}
    rest = {key: value for key, value in record.items() if key not in ("ts", *_WHOLE)}
    return row | {"other": _cell(rest or None)}


def to_parquet(lines: Path, out: Path) -> None:
    """Convert JSON Lines to Parquet in chunks of rows; ``out`` is replaced as a whole."""
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema([(name, pa.string()) for name in COLUMNS])
    fresh = out.with_name(out.name + ".new")
    with lines.open("rb") as source, parquet.ParquetWriter(fresh, schema) as writer:
        flat = (columns(json.loads(line)) for line in source)
        texts = ({name: _utf8(value) for name, value in row.items()} for row in flat)
        while rows := list(islice(texts, ROWS_AT_ONCE)):
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    fresh.replace(out)


def _utf8(value: Any) -> str | None:
    return None if value is None else str(value).encode("utf-8", "replace").decode()


def _at(record: Any, path: Sequence[str]) -> Any:
    """Return the value at a path; keys may contain dots."""
    for at in range(len(path), 0, -1):
        if isinstance(record, Mapping) and (key := ".".join(path[:at])) in record:
            return record[key] if at == len(path) else _at(record[key], path[at:])
    return None


def _cell(value: Any) -> Any:
    return _json(value).decode() if isinstance(value, Mapping | list | bool) else value


class _CsvLines(list[str]):
    """Receives rows from a csv.writer that ends them with CR LF, and ends them with LF.

    The writer quotes a lone CR or LF in a cell only if its own line end contains it.
    """

    def write(self, row: str) -> None:
        self.append(row[:-2] + "\n")


def _csv_rows(rows: Iterable[Sequence[Any]]) -> bytes:
    lines = _CsvLines()
    csv.writer(lines, lineterminator="\r\n").writerows(rows)
    return "".join(lines).encode("utf-8", "replace")


def _json(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # a lone surrogate, or a number beyond 64 bits
        return json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode()
