"""Python's dates in a caller's properties, turned into the vendor's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from typing import Any, Final

#: A record's time as callers may give it.
Time = float | datetime | None

_EPOCH_DAY: Final = date(1970, 1, 1)
_DATELESS: Final = frozenset((str, int, float, bool))  # most values: known without a call
_DEPTH: Final = 4  # an array of objects has two levels; there is room for nested ones


def dated(properties: Any, form: Callable[[int], Any]) -> Any:
    """Return a copy of ``properties`` with ``form(epoch seconds)`` for each date in it.

    A naive datetime is local time, as everywhere in Python; a date is the start of that day in UTC.
    None means no properties; anything that is not a mapping is left for `prepare` to refuse.
    """
    if properties is None:
        return {}
    return _dated(dict(properties) if isinstance(properties, Mapping) else properties, form, 0)


def _dated(value: Any, form: Callable[[int], Any], depth: int) -> Any:
    if isinstance(value, date):
        seconds = _epoch_s(value)
        return value if seconds is None else form(seconds)
    if isinstance(value, dict) and depth < _DEPTH:
        return {
            key: inner if type(inner) in _DATELESS else _dated(inner, form, depth + 1)
            for key, inner in value.items()
        }
    if isinstance(value, list) and depth < _DEPTH:
        return [_dated(inner, form, depth + 1) for inner in value]
    return value


def timed(record: dict[str, Any], key: str, ts: Time) -> dict[str, Any]:
    """Return the record with its time under ``key``, if there is one."""
    if ts is not None:
        record[key] = _epoch_s(ts) if isinstance(ts, datetime) else ts
    return record


def _epoch_s(moment: date) -> int | None:
    """Return epoch seconds of a datetime or date, or None if the platform has none for it."""
    if not isinstance(moment, datetime):
        return (moment - _EPOCH_DAY) // timedelta(seconds=1)
    try:
        return int(moment.timestamp())
    except (OverflowError, ValueError, OSError):
        return None
