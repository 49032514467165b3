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
    """A line of indented JSON, and the errors of what begins on it."""

    text: str
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
    return {name: _mask(value, plain=name in _PLAIN) for name, value in record.items()}


def _mask(value: Any, *, plain: bool = False) -> Any:
    """Mask a value; of a plain one only what is personal, such as an event named after a person."""
    if isinstance(value, dict):
        return {key: _mask(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_mask(inner) for inner in value]
    if isinstance(value, str):
        return masked_name(value) if plain else f"••• {plural(len(value), 'character')}"
    if plain or value is None:
        return value
    return f"••• {'true or false' if isinstance(value, bool) else 'a number'}"


def record_lines(record: Any, errors: Mapping[str, Sequence[str]]) -> list[RecordLine]:
    """Return the record's lines with their errors.

    The error of a missing field is shown at the nearest enclosing value.
    """
    lines: list[RecordLine] = []
    by_path: dict[str, RecordLine] = {}
    for path, text in _lines(record, "", "", "", ""):
        lines.append(RecordLine(_escape(text)))
        by_path.setdefault(path, lines[-1])
    for path, rules in errors.items():
        nearest = path
        while nearest not in by_path:  # the whole record is at the empty path
            nearest = nearest.rpartition(".")[0]
        prefix = "" if nearest == path else f"{path}: "
        by_path[nearest].errors.append(prefix + " ".join(rules))
    return lines


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
