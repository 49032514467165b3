"""Bloomreach's records: from a caller's hands to the exact bytes that will be sent.

`BloomreachSchema.prepare` validates a vendor-shaped record, stamps its time when it has none, and
serialises it, once. What is kept is the body of "Add event" or "Update customer properties": in a
batch it becomes a command's ``data`` as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from worker.errors import InvalidRecord
from worker.vendors.bloomreach import rules
from worker.vendors.bloomreach.record_schemas import (
    BloomreachCustomerSchema,
    BloomreachEventSchema,
    BloomreachRecordSchema,
    epoch_s,
    usable_id,
)
from worker.vendors.bloomreach.rules import BloomreachLimits
from worker.vendors.dates import dated
from worker.vendors.dates import epoch_s as date_epoch_s
from worker.vendors.protocol import Kind, Prepared
from worker.vendors.serialization import plain, serialize
from worker.vendors.validation import MAX_ERRORS, Rule, check, join

_NO_HOME: Final = "has no counterpart here: name the customer by identity or object_id"
_MICROSECONDS: Final = 6  # what a double holds of today's epoch seconds


class BloomreachSchema:
    """Validates and serialises records; one instance may be shared by threads.

    ``hard_id`` and ``soft_id`` are what the project calls the ids that `event` and `profile` are
    given as identity and object_id; both names are the project's own to choose.
    """

    def __init__(
        self,
        limits: BloomreachLimits | None = None,
        *,
        hard_id: str = "registered",
        soft_id: str = "cookie",
    ) -> None:
        limits = limits or BloomreachLimits()
        self._hard_id = hard_id
        self._id_names = {"identity": hard_id, "object_id": soft_id}
        self._message_bytes = limits.message_bytes
        self._too_large = Rule(f"must be less than {limits.message_bytes} bytes of JSON")
        self._event = BloomreachEventSchema(limits)
        self._customer = BloomreachCustomerSchema(limits)
        #: The marshmallow schema of each kind.
        self.schemas: Mapping[str, BloomreachRecordSchema] = {
            Kind.EVENT: self._event,
            Kind.PROFILE: self._customer,
        }

    def prepare(self, record: Mapping[str, Any], *, now_s: float) -> Prepared:
        """The record as it will be sent; ``now_s`` (epoch seconds) is its time if it has none.

        The time is stamped with its fraction: the vendor takes equal events for repetitions of
        one, and lets an update change only what an older one set, while it carries out the
        commands of a batch in any order. Raises InvalidRecord, and nothing else, for whatever it
        is given.
        """
        known = plain(record)
        if known is None:
            raise InvalidRecord({"record": [rules.NO_RECORD]})
        schema = self._event if "event_type" in known else self._customer
        check(schema, known)
        return self._prepared(schema, known, now_s)

    def _prepared(
        self, schema: BloomreachRecordSchema, record: dict[str, Any], now_s: float
    ) -> Prepared:
        given = record.get(schema.time_key)
        if given is None:
            given = round(now_s, _MICROSECONDS)
            record = {**record, schema.time_key: given}
        if schema.kind == Kind.EVENT and "properties" not in record:
            record = {**record, "properties": {}}  # the older page requires them
        body = serialize(record)
        if len(body) >= self._message_bytes:
            raise InvalidRecord({"record": [self._too_large]})
        seconds = epoch_s(given)
        ts = 0 if isinstance(seconds, Rule) else int(seconds)
        name = str.__str__(record["event_type"]) if schema.kind == Kind.EVENT else ""
        return Prepared(schema.kind, body, self._identity(record["customer_ids"]), ts, name)

    def _identity(self, ids: Mapping[str, Any]) -> bytes:
        """What order is kept by: the hard id where it is given, else the first by name.

        Not all ids together: an update with one id more would then overtake one without.
        """
        names = [self._hard_id] if self._hard_id in ids else []
        for name in (*names, *sorted(ids)):
            if (value := usable_id(ids[name])) is not None:
                return f"{name}:{value}".encode()
        return b""  # `CustomerIds` lets none through that comes here

    def event(
        self,
        name: str,
        properties: Mapping[str, Any] | None = None,
        *,
        ids: Mapping[str, Any],
        ts: float | datetime | None = None,
    ) -> dict[str, Any]:
        """An event as "Add event" wants it; not validated before `prepare`.

        ``ids`` names the customer by identity, object_id, or both. Dates in the properties become
        epoch seconds, as the vendor keeps dates. InvalidRecord for fbid and gpid, which have no
        counterpart.
        """
        record: dict[str, Any] = {"customer_ids": self._ids(ids), "event_type": name}
        return _timed(record, properties, "timestamp", ts)

    def profile(
        self,
        properties: Mapping[str, Any],
        *,
        ids: Mapping[str, Any],
        ts: float | datetime | None = None,
    ) -> dict[str, Any]:
        """An update as "Update customer properties" wants it; see `event`.

        InvalidRecord for CleverTap's operators ($add and the like): stored as they stand, they
        would replace what they were to change.
        """
        _refuse_operators(properties)
        return _timed({"customer_ids": self._ids(ids)}, properties, "update_timestamp", ts)

    def _ids(self, ids: Mapping[str, Any]) -> dict[str, Any]:
        given = {key: value for key, value in ids.items() if value is not None}
        if homeless := [key for key in given if key not in self._id_names]:
            raise InvalidRecord({join("", key): [_NO_HOME] for key in homeless})
        return {self._id_names[key]: value for key, value in given.items()}


def _timed(
    record: dict[str, Any], properties: Any, time_key: str, ts: float | datetime | None
) -> dict[str, Any]:
    record["properties"] = dated(properties, _seconds)
    if ts is not None:
        record[time_key] = date_epoch_s(ts) if isinstance(ts, datetime) else ts
    return record


def _seconds(seconds: int) -> int:
    return seconds


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
