"""JSON in and out without changing a value, for the records of all vendors.

orjson converts some values silently (NaN becomes null, a UUID a string), so what a vendor's own
checks do not look into is walked here: a record is sent as it was given, or refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any

import orjson

from worker.errors import InvalidRecord

from .validation import MAX_ERRORS, FieldErrors, Rule, join

MAX_DEPTH = 200  # orjson gives up at 254 levels; real records have one or two
MAX_VALUES = 100_000  # bounds a structure that contains itself, or shares its parts many times

NO_TEXT = Rule("must be valid Unicode text: it holds a lone surrogate")
NO_INTEGER = Rule("must be an integer of at most 64 bits")
NO_NUMBER = Rule("must be a finite number: JSON has no NaN and no infinity")
NO_KEY = Rule("must be keyed by strings")
TOO_MANY = Rule(f"must not hold more than {MAX_VALUES} values")

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


def json_errors(value: Any, path: str, max_depth: int = MAX_DEPTH) -> FieldErrors:
    """Return what JSON cannot carry in ``value``, by path; at most `MAX_ERRORS` places."""
    errors: FieldErrors = {}
    stack: list[tuple[Any, str, int]] = [(value, path, 0)]
    seen = 0
    while stack and len(errors) < MAX_ERRORS:
        item, where, depth = stack.pop()
        seen += 1
        if seen + len(stack) > MAX_VALUES:
            return {path: [TOO_MANY]}
        if not isinstance(item, dict | list) and type(item) is not tuple:  # nor a named tuple
            if rule := scalar_rule(item):
                errors[where] = [rule]
        elif depth >= max_depth:
            errors[where] = [Rule(f"must not be nested deeper than {max_depth} levels")]
        elif len(item) > MAX_VALUES:
            errors[where] = [TOO_MANY]
        else:
            for key, inner in item.items() if isinstance(item, dict) else enumerate(item):
                if isinstance(item, dict) and not isinstance(key, str):
                    errors[where] = [NO_KEY]
                elif isinstance(key, str) and (rule := scalar_rule(key)):
                    errors[join(where, key)] = [rule]
                stack.append((inner, join(where, key), depth + 1))
    return errors


def scalar_rule(value: Any) -> Rule | None:
    """Return the rule that a single value breaks, or None when JSON carries it unchanged."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, str):
        return NO_TEXT if _has_surrogate(value) else None
    if isinstance(value, int):
        return None if -(2**63) <= value < 2**64 else NO_INTEGER
    if type(value) is float:
        return None if isfinite(value) else NO_NUMBER
    return Rule(f"must be a JSON value, which a {type(value).__name__[:40]} is not")


def _has_surrogate(text: str) -> bool:
    if text.isascii():
        return False
    try:
        str.encode(text)
    except UnicodeEncodeError:
        return True
    return False
