"""Bloomreach's records: from what a caller passes to the exact bytes that will be sent.

`BloomreachSchema.prepare` validates a vendor-shaped record, stamps its time when it has none, and
serialises it, once. What is kept is the body of "Add event" or "Update customer properties": in a
batch it becomes a command's ``data`` as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from worker.errors import InvalidRecord

from ..dates import dated
from ..dates import epoch_s as date_epoch_s
from ..protocol import Kind, Prepared
from ..serialization import plain, serialize
from ..validation import MAX_ERRORS, Rule, check, join
from . import rules
from .record_schemas import (
    BloomreachCustomerSchema,
    BloomreachEventSchema,
    BloomreachRecordSchema,
    epoch_s,
    usable_id,
)
from .rules import BloomreachLimits

_NO_COUNTERPART: Final = "has no counterpart here: name the customer by identity or object_id"
_MICROSECONDS: Final = 6  # what a double holds of today's epoch seconds

# A plain string: comparing with an enum's member costs a record 0.1 us.
_EVENT = Kind.EVENT.value


class BloomreachSchema:
    """Validates and serialises records; one instance may be shared by threads.

    ``hard_id`` and ``soft_id`` are the project's names for what `event` and `profile` are given as
    identity and object_id.
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
        """Return the record as it will be sent; see `Schema`.

        The time is stamped with its fraction: the vendor treats equal events as repetitions, and
        lets an update change only what an older one set, while it carries out the commands of a
        batch in any order.
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
        if schema.kind == _EVENT and "properties" not in record:
            record = {**record, "properties": {}}  # the older page requires them
        body = serialize(record)
        if len(body) >= self._message_bytes:
            raise InvalidRecord({"record": [self._too_large]})
        seconds = epoch_s(given)
        ts = 0 if isinstance(seconds, Rule) else int(seconds)
        name = str.__str__(record["event_type"]) if schema.kind == _EVENT else ""
        return Prepared(schema.kind, body, self._identity(record["customer_ids"]), ts, name)

    def _identity(self, ids: Mapping[str, Any]) -> bytes:
        """Return what order is kept by: the hard id if there is one, else the first by name.

        With all ids together an update with one id more would overtake one without.
        """
        names = [self._hard_id] if self._hard_id in ids else []
        for name in (*names, *sorted(ids)):
            if (value := usable_id(ids[name])) is not None:
                return f"{name}:{value}".encode()
        return b""  # unreachable: `id_errors` demands a usable id

    def event(
        self,
        name: str,
        properties: Mapping[str, Any] | None = None,
        *,
        ids: Mapping[str, Any],
        ts: float | datetime | None = None,
    ) -> dict[str, Any]:
        """Return an event as "Add event" wants it; not validated before `prepare`.

        ``ids`` names the customer by identity, object_id, or both; InvalidRecord for fbid and gpid,
        which have no counterpart. Dates become epoch seconds; see `dated`.
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
        """Return an update as "Update customer properties" wants it; see `event`.

        InvalidRecord for CleverTap's operators ($add and the like): stored as they are, they would
        replace the value that they were meant to change.
        """
        _refuse_operators(properties)
        return _timed({"customer_ids": self._ids(ids)}, properties, "update_timestamp", ts)

    def _ids(self, ids: Mapping[str, Any]) -> dict[str, Any]:
        given = {key: value for key, value in ids.items() if value is not None}
        if unknown := [key for key in given if key not in self._id_names]:
            raise InvalidRecord({join("", key): [_NO_COUNTERPART] for key in unknown})
        return {self._id_names[key]: value for key, value in given.items()}


def _timed(
    record: dict[str, Any], properties: Any, time_key: str, ts: float | datetime | None
) -> dict[str, Any]:
    record["properties"] = dated(properties, int)
    if ts is not None:
        record[time_key] = date_epoch_s(ts) if isinstance(ts, datetime) else ts
    return record


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
