"""A record as lines to read: its values hidden until asked for, and each error at its field."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from worker.dead_letters.groups import masked_name

from .rendering import plural

# What names no person and says what kind of record it is; everything else is hidden, and so is
# what a producer's own properties have under these names.
_PLAIN = frozenset(("type", "evtName", "event_type", "ts", "timestamp", "update_timestamp"))
# What nobody sees, or what turns the text around it: often the very reason why a record is refused.
# Not the joiners, which emoji and some scripts are written with.
_UNSEEN = re.compile(
    "[\x7f-\xa0\xad\u061c\u180e\u2000-\u200b\u200e\u200f\u2028-\u202f\u205f-\u206f\ufeff]"
)


@dataclass(slots=True)
class Line:
    """A line of indented JSON, the path of what it begins, and what is wrong with that."""

    number: int
    text: str
    path: str
    errors: list[str] = field(default_factory=list)


def pretty(record: Any) -> str:
    """A record as it is edited: JSON that means the same, with what nobody sees written out."""
    return _seen(json.dumps(record, ensure_ascii=False, indent=2))


def _seen(text: str) -> str:
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def masked(record: Any) -> Any:
    """The same record with its names, and in place of its values what they are."""
    if not isinstance(record, dict):
        return _masked(record)
    return {
        name: _plain(value) if name in _PLAIN else _masked(value) for name, value in record.items()
    }


def _plain(value: Any) -> Any:
    """An event may be named after somebody."""
    if isinstance(value, dict | list):
        return _masked(value)
    return masked_name(value) if isinstance(value, str) else value


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _masked(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_masked(inner) for inner in value]
    if value is None:
        return value
    if isinstance(value, str):
        return f"••• {plural(len(value), 'character')}"
    return f"••• {'true or false' if isinstance(value, bool) else 'a number'}"


def lines(
    record: Any, errors: Mapping[str, Sequence[str]] | None = None
) -> tuple[list[Line], list[str]]:
    """The record's lines with their errors, and the errors of what is in none of them.

    An error of a field that is missing stands at the nearest thing around it.
    """
    found = [
        Line(number, _seen(text), path)
        for number, (path, text) in enumerate(_written(record, "", "", "", ""), 1)
    ]
    first = {line.path: line for line in reversed(found)}
    nowhere: list[str] = []
    for path, rules in (errors or {}).items():
        line, told = _nearest(first, path), " ".join(rules)
        if line is None or line.path != path:
            told = f"{path}: {told}"
        (line.errors if line else nowhere).append(told)
    return found, nowhere


def _nearest(first: Mapping[str, Line], path: str) -> Line | None:
    while path and path not in first:
        path = path.rpartition(".")[0]
    return first.get(path)


def _written(
    value: Any, path: str, indent: str, before: str, after: str
) -> Iterator[tuple[str, str]]:
    """Path and text of each line, as json.dumps indents them."""
    if not isinstance(value, dict | list) or not value:
        yield path, f"{indent}{before}{json.dumps(value, ensure_ascii=False)}{after}"
        return
    inside = list(value.items() if isinstance(value, dict) else enumerate(value))
    opens, closes = "{}" if isinstance(value, dict) else "[]"
    yield path, f"{indent}{before}{opens}"
    for at, (key, inner) in enumerate(inside, 1):
        name = f"{json.dumps(key, ensure_ascii=False)}: " if isinstance(value, dict) else ""
        comma = "," if at < len(inside) else ""
        below = f"{path}.{key}" if path else str(key)
        yield from _written(inner, below, f"{indent}  ", name, comma)
    yield path, f"{indent}{closes}{after}"
