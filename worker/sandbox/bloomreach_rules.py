"""Bloomreach's checks of one tracking command. Pure, without HTTP.

Texts come from the vendor's error pages where they are published. Its errors are a list, a text, or
an object of lists by field; each of the three occurs here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

import orjson

from worker.sandbox.ledger import LedgerRecord
from worker.sandbox.settings import SandboxSettings

CommandErrors = list[str] | str | dict[str, list[str]]

EVENTS, CUSTOMERS, TIME = "customers/events", "customers", "system/time"
_TIME_FIELDS = {EVENTS: "timestamp", CUSTOMERS: "update_timestamp"}
MOST_COMMANDS = 50  # vendor page "Batch commands"
# Bytes, vendor page "Add event": less than 800 KBytes a message, 16 KBytes a property's value.
_LARGEST_MESSAGE, _LARGEST_VALUE = 800_000, 16_000
NO_ID: CommandErrors = ["At least one id should be specified."]
NO_VALID_ID: CommandErrors = ["At least one valid id should be specified"]
EVENT_TYPE: CommandErrors = {"_global": ["Not authorized to add event of specified type"]}
PROPERTIES: CommandErrors = {"_global": ["not authorized to update specified customer properties"]}


class CommandValidator:
    """The rules of one project."""

    def __init__(self, settings: SandboxSettings) -> None:
        self._types = frozenset(settings.unauthorised_event_types)
        self._properties = frozenset(settings.unauthorised_properties)

    def validate(self, name: str, data: Any, now: int) -> LedgerRecord | CommandErrors:
        """Return the record of the command ``name``, or its errors; ``now`` is the default time."""
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
        kind, event = ("event", data["event_type"]) if name == EVENTS else ("profile", "")
        ts = _seconds(data.get(_TIME_FIELDS[name]))
        return LedgerRecord("bloomreach", kind, event, now if ts is None else ts, body)

    def _errors(self, name: str, data: Mapping[str, Any]) -> CommandErrors | None:
        if errors := _ids(data.get("customer_ids")):
            return errors
        if name == EVENTS:
            event_type = data.get("event_type")
            if not isinstance(event_type, str) or not event_type:
                return "Field event_type is required"
            if event_type in self._types:
                return EVENT_TYPE
            # Required by the older page, optional on the newer: it may be absent.
            properties = data.get("properties", {})
        else:
            properties = data.get("properties")
            if isinstance(properties, dict) and not self._properties.isdisjoint(properties):
                return PROPERTIES
        if errors := _property_errors(properties):
            return errors
        given = data.get(field := _TIME_FIELDS[name])
        is_time = given is None or _seconds(given) is not None
        return None if is_time else {field: ["Not a valid timestamp"]}


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


def _property_errors(properties: Any) -> CommandErrors | None:
    if not isinstance(properties, dict):
        return {"properties": ["must be an object"]}
    too_large = (name for name, value in properties.items() if _is_too_large(value))
    return next(({name: ["value is too large"]} for name in too_large), None)


def _is_too_large(value: Any) -> bool:
    # The dump costs more than all other checks, so short text is not measured. A control character
    # takes six bytes.
    if isinstance(value, str) and 6 * len(value) + 2 < _LARGEST_VALUE:
        return False
    return isinstance(value, str | list | dict) and len(orjson.dumps(value)) >= _LARGEST_VALUE


def _seconds(value: Any) -> int | None:
    """Return epoch seconds of a number, digits, or ISO 8601; milliseconds are not recognised."""
    if value is None or isinstance(value, bool):
        return None
    with suppress(TypeError, ValueError):
        number = float(value)
        return int(number) if math.isfinite(number) and abs(number) < 2**62 else None
    with suppress(TypeError, ValueError, OverflowError, OSError):
        return int(datetime.fromisoformat(value).timestamp())
    return None
