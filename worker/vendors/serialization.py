"""From a caller's mapping to the bytes that are sent: what the records of all vendors share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from worker.errors import InvalidRecord
from worker.vendors.json_values import json_errors


def body_of(record: Mapping[str, Any]) -> bytes:
    """The record's JSON; InvalidRecord, by path, for what JSON cannot carry.

    Lone surrogates and integers beyond 64 bits end here: looking for them in every record would
    cost more than the serialisation that finds them. Keys of a str subclass are none of the two.
    """
    try:
        return orjson.dumps(record)
    except (TypeError, ValueError):
        pass
    if errors := json_errors(record, ""):
        raise InvalidRecord(errors)
    try:
        return orjson.dumps(record, option=orjson.OPT_NON_STR_KEYS)
    except (TypeError, ValueError):
        raise InvalidRecord({"record": ["must be a JSON object"]}) from None


def plain(record: Any) -> dict[str, Any] | None:
    """A mapping of any class as a dict; None when it is no mapping, or its own code fails."""
    if type(record) is dict:
        return record
    try:
        return dict(record) if isinstance(record, Mapping) else None
    except Exception:  # noqa: BLE001 - a mapping is foreign code, and the promise is InvalidRecord
        return None
