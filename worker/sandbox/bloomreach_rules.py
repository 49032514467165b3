"""Bloomreach's checks of one tracking command. Pure, without HTTP.

Texts come from the vendor's error pages where they are published. Its errors are a list, a text, or
an object of lists by field; each of the three occurs here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

CommandErrors = list[str] | str | dict[str, list[str]]

EVENTS, CUSTOMERS, TIME = "customers/events", "customers", "system/time"
MOST_COMMANDS = 50  # vendor page "Batch commands"
# Bytes, vendor page "Add event": less than 800 KBytes a message, 16 KBytes a property's value.
_LARGEST_MESSAGE, _LARGEST_VALUE = 800_000, 16_000
NO_ID: CommandErrors = ["At least one id should be specified."]
NO_VALID_ID: CommandErrors = ["At least one valid id should be specified"]
EVENT_TYPE: CommandErrors = {"_global": ["Not authorized to add event of specified type"]}
PROPERTIES: CommandErrors = {"_global": ["not authorized to update specified customer properties"]}


@dataclass(frozen=True, slots=True)
class QueuedCommand:
    """A queued command, for the ledger. ``ts`` is None if the command has none."""

    kind: str
    name: str
    ts: int | None
    body: bytes


class CommandValidator:
    """The rules of one project."""

    def __init__(
        self, unauthorised_types: Iterable[str] = (), unauthorised_properties: Iterable[str] = ()
    ) -> None:
        self._types = frozenset(unauthorised_types)
        self._properties = frozenset(unauthorised_properties)

    def validate(self, name: str, data: Any) -> QueuedCommand | CommandErrors:
        """Queue the command ``name`` with ``data``, or return its errors."""
        if not isinstance(data, dict):
            return "Field data is required"
        try:
            errors = self._errors(name, data)
            body = orjson.dumps(data)
        except orjson.JSONEncodeError:  # it reads 1024 levels, and writes 254
            return ["Message is nested too deeply"]
        if errors is not None:
            return errors
        if len(body) >= _LARGEST_MESSAGE:
            return ["Message is too large"]
        if name == EVENTS:
            return QueuedCommand("event", data["event_type"], _seconds(data.get("timestamp")), body)
        return QueuedCommand("profile", "", _seconds(data.get("update_timestamp")), body)

    def _errors(self, name: str, data: Mapping[str, Any]) -> CommandErrors | None:
        errors = _ids(data.get("customer_ids"))
        if errors is not None:
            return errors
        return self._event(data) if name == EVENTS else self._customer(data)

    def _event(self, data: Mapping[str, Any]) -> CommandErrors | None:
        event_type = data.get("event_type")
        if not isinstance(event_type, str) or not event_type:
            return "Field event_type is required"
        if event_type in self._types:
            return EVENT_TYPE
        # Required by the older page, optional on the newer: it may be absent.
        return _properties(data.get("properties", {})) or _timestamp(data, "timestamp")

    def _customer(self, data: Mapping[str, Any]) -> CommandErrors | None:
        properties = data.get("properties")
        if isinstance(properties, dict) and not self._properties.isdisjoint(properties):
            return PROPERTIES
        return _properties(properties) or _timestamp(data, "update_timestamp")


def _ids(ids: Any) -> CommandErrors | None:
    if not isinstance(ids, dict) or not ids:
        return NO_ID
    several = (value if isinstance(value, list) else [value] for value in ids.values())
    return None if any(_is_id(each) for values in several for each in values) else NO_VALID_ID


def _is_id(value: Any) -> bool:
    """Return whether an id has a letter or digit, and is not the trace of a bug."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return False
    text = str(value)
    return text not in {"null", "undefined"} and any(map(str.isalnum, text))


def _properties(properties: Any) -> CommandErrors | None:
    if not isinstance(properties, dict):
        return {"properties": ["must be an object"]}
    for name, value in properties.items():
        if _is_too_large(value):
            return {name: ["value is too large"]}
    return None


def _is_too_large(value: Any) -> bool:
    # The dump costs more than all other checks, so short text is not measured. A control character
    # takes six bytes.
    if isinstance(value, str) and 6 * len(value) + 2 < _LARGEST_VALUE:
        return False
    return isinstance(value, str | list | dict) and len(orjson.dumps(value)) >= _LARGEST_VALUE


def _timestamp(data: Mapping[str, Any], field: str) -> CommandErrors | None:
    given = data.get(field)
    if given is None or _seconds(given) is not None:
        return None
    return {field: ["Not a valid timestamp"]}


def _seconds(value: Any) -> int | None:
    """Return epoch seconds of a number, digits, or ISO 8601; milliseconds are not recognised."""
    if value is None or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return _iso_seconds(value)
    return int(number) if math.isfinite(number) and abs(number) < 2**62 else None


def _iso_seconds(value: Any) -> int | None:
    try:
        return int(datetime.fromisoformat(value).timestamp())
    except (TypeError, ValueError, OverflowError, OSError):
        return None
