"""JSON in and out, without changing a value: what the records of all vendors share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson

from worker.errors import InvalidRecord

from .json_values import json_errors

# The least number beyond 64 bits has 19 digits; few texts have that many in a row. This search
# costs a tenth of the parsing, a regular expression as much as the parsing.
_LONG_NUMBER = b"0" * 19
_ALL_ZEROS = bytes.maketrans(b"123456789", b"0" * 9)


def serialize(record: Mapping[str, Any]) -> bytes:
    """Return the record's JSON; InvalidRecord, by path, for what JSON cannot carry.

    Lone surrogates and integers beyond 64 bits are found here: looking for them in every record
    would cost more than serialising it. Keys of a str subclass are neither.
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
    """Return a mapping of any class as a dict; None if it is not one, or its own code fails."""
    if type(record) is dict:
        return record
    try:
        return dict(record) if isinstance(record, Mapping) else None
    except Exception:  # noqa: BLE001 - a mapping is foreign code, and the promise is InvalidRecord
        return None


def exact(text: bytes) -> Any:
    """Return the JSON value of a text, every integer as it was written; else JSONDecodeError.

    orjson silently makes floats of integers beyond 64 bits, so that the vendor would get another
    number; as integers, the schemas refuse them.
    """
    value = orjson.loads(text)
    if _LONG_NUMBER not in text.translate(_ALL_ZEROS):
        return value
    try:
        return json.loads(text)
    except RecursionError:  # nested so deeply that the schemas refuse it anyway
        return value
