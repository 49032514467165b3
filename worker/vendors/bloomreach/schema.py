"""Bloomreach's records: from what a caller passes to the exact bytes that will be sent.

What is kept is the body of "Add event" or "Update customer properties": in a batch it becomes a
command's ``data`` as it is. A record has no kind in it: one with an ``event_type`` is an event.
Unknown keys pass, as the vendor's own modules send some; values are never converted.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from worker.errors import InvalidRecord

from ..dates import Time, dated, timed
from ..json_values import NO_INTEGER, NO_NUMBER, json_errors, plain, scalar_rule, serialize
from ..protocol import Kind, Prepared
from ..validation import (
    MAX_ERRORS,
    MAX_TS_S,
    Broken,
    FieldErrors,
    Rule,
    RuleField,
    RuleSchema,
    check,
    join,
)
from . import rules

_NO_COUNTERPART: Final = "has no counterpart here: name the customer by identity or object_id"
_MICROSECONDS: Final = 6  # what a double holds of today's epoch seconds
# Below this a text needs no counting: JSON takes at most six bytes for a character.
_SAFE_CHARS: Final = rules.VALUE_BYTES // 6 - 1

# Plain strings: comparing with an enum's member costs a record 0.1 us.
_EVENT, _PROFILE = Kind.EVENT.value, Kind.PROFILE.value


class BloomreachRecordSchema(RuleSchema):
    """What both kinds share: a customer, and properties."""

    customer_ids = RuleField(rules.NO_IDS, "id_errors", required=True)

    kind = ""
    #: The key that holds the record's time.
    time_key = ""

    def id_errors(self, value: Any, _record: Any) -> Broken:
        """Check hard and soft ids by name: at least one of them must be usable."""
        if not isinstance(value, dict) or not value:
            return rules.NO_IDS
        errors: FieldErrors = {}
        found = False
        for name, given in value.items():
            if rule := _id_rule(given) if isinstance(name, str) else rules.BAD_KEY:
                errors[join("", name)] = [rule]
                if len(errors) >= MAX_ERRORS:
                    break
            found = found or _usable_id(given) is not None
        return errors or (None if found else rules.NO_VALID_ID)

    def time_rule(self, value: Any, _record: Any) -> Rule | None:
        """Check seconds since the epoch, or ISO 8601."""
        found = _epoch_s(value)
        return found if isinstance(found, Rule) else None

    def property_errors(self, properties: Any, _record: Any) -> Broken:
        """Check any JSON values of bounded size: one pass, with the common types inline."""
        if not isinstance(properties, dict):
            return rules.NO_PROPERTIES
        errors: FieldErrors = {}
        for name, value in properties.items():
            kind = type(value)
            if kind is str and len(value) <= _SAFE_CHARS:
                rule = None
            elif kind is float:
                rule = None if value - value == 0 else NO_NUMBER
            elif kind is bool or value is None:
                rule = None
            else:
                rule = self._other_rule(errors, name, value)
            if not isinstance(name, str):
                rule = rules.BAD_KEY
            if rule is not None:
                errors[join("", name)] = [rule]
            if len(errors) >= MAX_ERRORS:
                break
        return errors or None

    def _other_rule(self, errors: FieldErrors, name: Any, value: Any) -> Rule | None:
        """Return the rule that a value breaks; what is broken inside it is added to ``errors``."""
        if not isinstance(value, str | dict | list) and type(value) is not tuple:
            return scalar_rule(value)
        if not isinstance(value, str) and (found := json_errors(value, join("", name))):
            errors.update(found)
            return None
        try:
            return rules.LARGE_VALUE if len(orjson.dumps(value)) >= rules.VALUE_BYTES else None
        except (TypeError, ValueError):
            return None  # a lone surrogate or an odd key: the record's own serialisation reports it

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

    kind, time_key = _EVENT, "timestamp"
    event_type = RuleField(rules.NO_EVENT_TYPE, "type_rule", required=True)
    properties = RuleField(rules.NO_PROPERTIES, "property_errors")
    timestamp = RuleField(rules.BAD_TS, "time_rule", allow_none=True)

    def type_rule(self, value: Any, _record: Any) -> Rule | None:
        return None if isinstance(value, str) and value.strip() else rules.NO_EVENT_TYPE


class BloomreachCustomerSchema(BloomreachRecordSchema):
    """One update of a customer, as in the body of "Update customer properties"."""

    kind, time_key = _PROFILE, "update_timestamp"
    properties = RuleField(rules.NO_PROPERTIES, "attribute_errors", required=True)
    update_timestamp = RuleField(rules.BAD_TS, "time_rule", allow_none=True)

    def attribute_errors(self, properties: Any, record: Any) -> Broken:
        """Check what events' properties must be, and a bounded number of names in ASCII."""
        if isinstance(properties, dict) and len(properties) > rules.CUSTOMER_PROPERTIES:
            return rules.TOO_MANY
        errors = self.property_errors(properties, record)
        if isinstance(errors, Rule):
            return errors
        for name in properties:
            if isinstance(name, str) and not name.isascii():
                errors = errors or {}
                errors[join("", name)] = [rules.BAD_NAME]
        return errors


class BloomreachSchema:
    """Validates and serialises records; one instance may be shared by threads.

    ``hard_id`` and ``soft_id`` are the project's names for what `event` and `profile` are given as
    identity and object_id. ``schemas`` holds the marshmallow schema of each kind.
    """

    def __init__(self, *, hard_id: str = "registered", soft_id: str = "cookie") -> None:
        self._hard_id = hard_id
        self._id_names = {"identity": hard_id, "object_id": soft_id}
        self.schemas: Mapping[str, BloomreachRecordSchema] = {
            each.kind: each() for each in (BloomreachEventSchema, BloomreachCustomerSchema)
        }

    def prepare(self, record: Mapping[str, Any], *, now_s: float) -> Prepared:
        """Return the record as it will be sent; see `Schema`.

        The time is stamped with its fraction: the vendor treats equal events as repetitions, and
        lets an update change only what an older one set, while it carries out the commands of a
        batch in any order.
        """
        known = plain(record)
        if known is None:
            raise InvalidRecord({"record": [rules.NO_RECORD]})
        is_event = "event_type" in known
        schema = self.schemas[_EVENT if is_event else _PROFILE]
        check(schema, known)
        given = known.get(schema.time_key)
        if given is None:
            given = round(now_s, _MICROSECONDS)
            known = {**known, schema.time_key: given}
        if is_event and "properties" not in known:
            known = {**known, "properties": {}}  # the older page requires them
        body = serialize(known)
        if len(body) >= rules.MESSAGE_BYTES:
            raise InvalidRecord({"record": [rules.LARGE_RECORD]})
        seconds = _epoch_s(given)
        ts = 0 if isinstance(seconds, Rule) else int(seconds)
        name = str.__str__(known["event_type"]) if is_event else ""
        return Prepared(schema.kind, body, self._identity(known["customer_ids"]), ts, name)

    def _identity(self, ids: Mapping[str, Any]) -> bytes:
        """Return what order is kept by: the hard id if there is one, else the first by name.

        With all ids together an update with one id more would overtake one without.
        """
        names = [self._hard_id] if self._hard_id in ids else []
        for name in (*names, *sorted(ids)):
            if (value := _usable_id(ids[name])) is not None:
                return f"{name}:{value}".encode()
        return b""  # unreachable: `id_errors` demands a usable id

    def event(
        self, name: str, properties: Any = None, *, ids: Mapping[str, Any], ts: Time = None
    ) -> dict[str, Any]:
        """Return an event as "Add event" wants it; not validated before `prepare`.

        ``ids`` names the customer by identity, object_id, or both; InvalidRecord for fbid and gpid,
        which have no counterpart. Dates become epoch seconds; see `dated`.
        """
        record = {"customer_ids": self._ids(ids), "event_type": name}
        return timed({**record, "properties": dated(properties, int)}, "timestamp", ts)

    def profile(
        self, properties: Any, *, ids: Mapping[str, Any], ts: Time = None
    ) -> dict[str, Any]:
        """Return an update as "Update customer properties" wants it; see `event`.

        InvalidRecord for CleverTap's operators ($add and the like): stored as they are, they would
        replace the value that they were meant to change.
        """
        _refuse_operators(properties)
        record = {"customer_ids": self._ids(ids), "properties": dated(properties, int)}
        return timed(record, "update_timestamp", ts)

    def _ids(self, ids: Mapping[str, Any]) -> dict[str, Any]:
        given = {key: value for key, value in ids.items() if value is not None}
        if unknown := [key for key in given if key not in self._id_names]:
            raise InvalidRecord({join("", key): [_NO_COUNTERPART] for key in unknown})
        return {self._id_names[key]: value for key, value in given.items()}


def _refuse_operators(properties: Any) -> None:
    if not isinstance(properties, Mapping):
        return  # `prepare` refuses it
    found = [
        join("properties", name)
        for name, value in properties.items()
        if isinstance(value, dict) and any(isinstance(key, str) and key[:1] == "$" for key in value)
    ]
    if found:
        raise InvalidRecord({path: [rules.FOREIGN_OPERATOR] for path in found[:MAX_ERRORS]})


def _usable_id(value: Any) -> str | None:
    """Return the id as text (the first usable one of an array), or None without a usable one."""
    for each in value if isinstance(value, list | tuple) else (value,):
        if not _is_id(each):
            continue
        text = str.__str__(each) if isinstance(each, str) else f"{each:d}"
        if text not in rules.ANONYMOUS and any(map(str.isalnum, text)):
            return text
    return None


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


def _epoch_s(value: Any) -> float | Rule:
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
