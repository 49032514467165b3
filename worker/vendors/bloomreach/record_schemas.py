"""The marshmallow schemas of Bloomreach's two kinds of record.

A record has no kind in it: one with an ``event_type`` is an event. Unknown keys pass, as the
vendor's own modules send some; values are passed on as they are, never converted.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from ..json_values import NO_INTEGER, NO_NUMBER, json_errors, scalar_rule
from ..protocol import Kind
from ..validation import (
    MAX_ERRORS,
    MAX_TS_S,
    Broken,
    FieldErrors,
    Rule,
    RuleField,
    RuleSchema,
    join,
)
from . import rules

_MOST_BYTES_PER_CHAR = 6  # a control character in JSON


class BloomreachRecordSchema(RuleSchema):
    """What both kinds share: a customer, and properties."""

    customer_ids = RuleField(rules.NO_IDS, "id_errors", required=True)

    kind = ""
    #: The key that holds the record's time.
    time_key = ""

    def __init__(self, limits: rules.BloomreachLimits) -> None:
        super().__init__()
        self._limits = limits
        self._safe_chars = limits.value_bytes // _MOST_BYTES_PER_CHAR - 1
        self._too_large = Rule(f"must be less than {limits.value_bytes} bytes of JSON")
        self._too_many = Rule(f"must hold at most {limits.customer_properties} attributes")

    def id_errors(self, value: Any, _record: Any) -> Broken:
        """Check hard and soft ids by name: at least one of them must be usable."""
        if not isinstance(value, dict) or not value:
            return rules.NO_IDS
        errors: FieldErrors = {}
        found = False
        for name, given in value.items():
            rule = _id_rule(given) if isinstance(name, str) else rules.BAD_KEY
            if rule:
                errors[join("", name)] = [rule]
                if len(errors) >= MAX_ERRORS:
                    break
            found = found or usable_id(given) is not None
        return errors or (None if found else rules.NO_VALID_ID)

    def time_rule(self, value: Any, _record: Any) -> Rule | None:
        """Check seconds since the epoch, or ISO 8601."""
        found = epoch_s(value)
        return found if isinstance(found, Rule) else None

    def property_errors(self, properties: Any, _record: Any) -> Broken:
        """Check any JSON values of bounded size: one pass, with the common types inline."""
        if not isinstance(properties, dict):
            return rules.NO_PROPERTIES
        errors: FieldErrors = {}
        for name, value in properties.items():
            kind = type(value)
            if kind is str and len(value) <= self._safe_chars:
                rule = None
            elif kind is float:
                rule = None if value - value == 0 else NO_NUMBER
            elif kind is bool or value is None:
                rule = None
            else:
                self._add_value_errors(errors, name, value)
                rule = None
            if not isinstance(name, str):
                rule = rules.BAD_KEY
            if rule is not None:
                errors[join("", name)] = [rule]
            if len(errors) >= MAX_ERRORS:
                break
        return errors or None

    def _add_value_errors(self, errors: FieldErrors, name: Any, value: Any) -> None:
        path = join("", name)
        if isinstance(value, str | dict | list) or type(value) is tuple:
            if found := None if isinstance(value, str) else json_errors(value, path):
                errors.update(found)
            elif self._is_too_large(value):
                errors[path] = [self._too_large]
        elif rule := scalar_rule(value):
            errors[path] = [rule]

    def _is_too_large(self, value: Any) -> bool:
        try:
            return len(orjson.dumps(value)) >= self._limits.value_bytes
        except (TypeError, ValueError):
            return (
                False  # a lone surrogate or an odd key: the record's own serialisation reports it
            )

    def broken(self, record: Mapping[Any, Any]) -> FieldErrors:
        """Check in one pass that the other keys hold nothing that JSON cannot carry."""
        errors: FieldErrors = {}
        for key, value in record.items():
            if key in self.fields:
                continue
            if not isinstance(key, str):
                errors[key] = [rules.BAD_KEY]
            else:
                errors.update(json_errors(value, key))
        return errors


class BloomreachEventSchema(BloomreachRecordSchema):
    """One event, as in the body of "Add event"; the newer page has ``properties`` optional."""

    kind, time_key = Kind.EVENT.value, "timestamp"
    event_type = RuleField(rules.NO_EVENT_TYPE, "type_rule", required=True)
    properties = RuleField(rules.NO_PROPERTIES, "property_errors")
    timestamp = RuleField(rules.BAD_TS, "time_rule", allow_none=True)

    def type_rule(self, value: Any, _record: Any) -> Rule | None:
        """Check that there is a type."""
        return None if isinstance(value, str) and value.strip() else rules.NO_EVENT_TYPE


class BloomreachCustomerSchema(BloomreachRecordSchema):
    """One update of a customer, as in the body of "Update customer properties"."""

    kind, time_key = Kind.PROFILE.value, "update_timestamp"
    properties = RuleField(rules.NO_PROPERTIES, "attribute_errors", required=True)
    update_timestamp = RuleField(rules.BAD_TS, "time_rule", allow_none=True)

    def attribute_errors(self, properties: Any, record: Any) -> Broken:
        """Check what events' properties must be, and a bounded number of names in ASCII."""
        if isinstance(properties, dict) and len(properties) > self._limits.customer_properties:
            return self._too_many
        errors = self.property_errors(properties, record)
        if isinstance(errors, Rule):
            return errors
        for name in properties:
            if isinstance(name, str) and not name.isascii():
                errors = errors or {}
                errors[join("", name)] = [rules.BAD_NAME]
        return errors


def usable_id(value: Any) -> str | None:
    """Return the id as text (the first usable one of an array), or None without a usable one."""
    for each in value if isinstance(value, list | tuple) else (value,):
        if not _is_id(each):
            continue
        text = str.__str__(each) if isinstance(each, str) else f"{each:d}"
        if text not in rules.ANONYMOUS and any(map(str.isalnum, text)):
            return text
    return None


def epoch_s(value: Any) -> float | Rule:
    """Return the epoch seconds that a timestamp stands for, or the rule that it breaks."""
    if isinstance(value, str):
        if not rules.SECONDS.fullmatch(value):
            return _iso_epoch_s(value)
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        return rules.BAD_TS
    return rules.TS_IN_MILLISECONDS if value >= MAX_TS_S else value


def _iso_epoch_s(text: str) -> float | Rule:
    """Read a date-time, in UTC without an offset; the vendor's own reading is not published."""
    if not rules.ISO_8601.fullmatch(text):
        return rules.BAD_TS
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return rules.BAD_TS
    seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return seconds if seconds >= 0 else rules.BAD_TS


def _id_rule(value: Any) -> Rule | None:
    """Return the rule an id breaks; null, and words such as "null", count as not set."""
    if value is None:
        return None
    several = isinstance(value, list) or type(value) is tuple
    for each in value if several else (value,):
        if not _is_id(each):
            return rules.BAD_ID
        if isinstance(each, int) and not -(2**63) <= each < 2**64:
            return NO_INTEGER
    return None


def _is_id(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)
