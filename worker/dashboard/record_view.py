"""A record as lines to read: values hidden until requested, and each error at its field."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from worker.dead_letters.groups import masked_name

from .rendering import plural

# Top-level fields that name no person and say what kind of record it is. All others are hidden, and
# so are a producer's own properties of the same names.
_PLAIN = frozenset(("type", "evtName", "event_type", "ts", "timestamp", "update_timestamp"))
# Characters that are invisible, or turn the text around them: often why a record is refused. Not
# the joiners, which emoji and some scripts are written with.
_INVISIBLE = re.compile(
    "[\x7f-\xa0\xad\u061c\u180e\u2000-\u200b\u200e\u200f\u2028-\u202f\u205f-\u206f\ufeff]"
)


@dataclass(slots=True)
class RecordLine:
    """A line of indented JSON, the path of what begins on it, and the errors there."""

    number: int
    text: str
    path: str
    errors: list[str] = field(default_factory=list)


def pretty(record: Any) -> str:
    """Return a record for editing: equivalent JSON, with invisible characters escaped."""
    return _escape(json.dumps(record, ensure_ascii=False, indent=2))


def _escape(text: str) -> str:
    return _INVISIBLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def masked(record: Any) -> Any:
    """Return a record with its names, and in place of each value its type or length."""
    if not isinstance(record, dict):
        return _mask(record)
    return {
        name: _mask_plain(value) if name in _PLAIN else _mask(value)
        for name, value in record.items()
    }


def _mask_plain(value: Any) -> Any:
    """Mask only what is personal in a value, such as an event named after a person."""
    if isinstance(value, str):
        return masked_name(value)
    return _mask(value) if isinstance(value, dict | list) else value


def _mask(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _mask(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_mask(inner) for inner in value]
    if value is None:
        return value
    if isinstance(value, str):
        return f"••• {plural(len(value), 'character')}"
    return f"••• {'true or false' if isinstance(value, bool) else 'a number'}"


def record_lines(
    record: Any, errors: Mapping[str, Sequence[str]] | None = None
) -> tuple[list[RecordLine], list[str]]:
    """Return the record's lines with their errors, and the errors that belong to no line.

    The error of a missing field is shown at the nearest enclosing value.
    """
    found = [
        RecordLine(number, _escape(text), path)
        for number, (path, text) in enumerate(_lines(record, "", "", "", ""), 1)
    ]
    by_path = {line.path: line for line in reversed(found)}
    homeless: list[str] = []
    for path, rules in (errors or {}).items():
        line, text = _nearest(by_path, path), " ".join(rules)
        if line is None or line.path != path:
            text = f"{path}: {text}"
        (line.errors if line else homeless).append(text)
    return found, homeless


def _nearest(by_path: Mapping[str, RecordLine], path: str) -> RecordLine | None:
    while path and path not in by_path:
        path = path.rpartition(".")[0]
    return by_path.get(path)


def _lines(
    value: Any, path: str, indent: str, before: str, after: str
) -> Iterator[tuple[str, str]]:
    """Yield path and text of each line, indented as json.dumps does."""
    if not isinstance(value, dict | list) or not value:
        yield path, f"{indent}{before}{json.dumps(value, ensure_ascii=False)}{after}"
        return
    items = list(value.items() if isinstance(value, dict) else enumerate(value))
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    yield path, f"{indent}{before}{opening}"
    for position, (key, inner) in enumerate(items, 1):
        name = f"{json.dumps(key, ensure_ascii=False)}: " if isinstance(value, dict) else ""
        comma = "," if position < len(items) else ""
        inner_path = f"{path}.{key}" if path else str(key)
        yield from _lines(inner, inner_path, f"{indent}  ", name, comma)
    yield path, f"{indent}{closing}{after}"
