"""CleverTap's records: from what a caller passes to the exact bytes that will be sent.

`CleverTapSchema.prepare` validates a vendor-shaped record, stamps its time when it has none, and
serialises it, once. What the vendor's pages do not forbid passes unchanged, unknown keys included.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from worker.errors import InvalidRecord

from ..dates import dated, epoch_s
from ..protocol import Kind, Prepared
from ..serialization import plain, serialize
from ..validation import Rule, check
from .record_schemas import (
    CleverTapEventSchema,
    CleverTapProfileSchema,
    CleverTapRecordSchema,
    CleverTapTokenSchema,
)
from .rules import IDENTITY_KEYS, NO_TYPE, CleverTapLimits

_NO_RECORD = Rule("must be an object", NO_TYPE.code)

_KEYWORDS: Final = {
    "identity": "identity",
    "fbid": "FBID",
    "gpid": "GPID",
    "object_id": "objectId",
    **{key: key for key in IDENTITY_KEYS},
}


# Plain strings: comparing with an enum's member costs a record 0.1 us.
_EVENT, _TOKEN = Kind.EVENT.value, Kind.TOKEN.value


class CleverTapSchema:
    """Validates and serialises records; one instance may be shared by threads.

    ``schemas`` holds the marshmallow schema of each kind (`event`, `profile`, `token`).
    """

    def __init__(self, limits: CleverTapLimits | None = None) -> None:
        limits = limits or CleverTapLimits()
        self.schemas: Mapping[str, CleverTapRecordSchema] = {
            Kind.EVENT: CleverTapEventSchema(limits),
            Kind.PROFILE: CleverTapProfileSchema(limits),
            Kind.TOKEN: CleverTapTokenSchema(limits),
        }

    def prepare(self, record: Mapping[str, Any], *, now_s: float) -> Prepared:
        """Return the record as it will be sent; see `Schema`.

        The record itself is not changed. A token is sent without a time, as on the vendor's page.
        """
        plain_record = plain(record)
        if plain_record is None:
            raise InvalidRecord({"record": [_NO_RECORD]}, _NO_RECORD.code)
        kind = plain_record.get("type")
        schema = self.schemas.get(kind) if isinstance(kind, str) else None
        if schema is None:
            raise InvalidRecord({"type": [NO_TYPE]}, NO_TYPE.code)
        check(schema, plain_record)
        return _prepared(schema.kind, plain_record, now_s)

    def event(
        self,
        name: str,
        properties: Mapping[str, Any] | None = None,
        *,
        ids: Mapping[str, Any],
        ts: int | datetime | None = None,
    ) -> dict[str, Any]:
        """Return an event as the upload API wants it; not validated before `prepare`.

        ``ids`` names the user by identity, fbid, gpid or object_id; InvalidRecord for another
        keyword. Dates become the vendor's ``$D_<epoch seconds>``; see `dated`.
        """
        data = dated(properties, _date)
        return _timed({**_ids(ids), "type": "event", "evtName": name, "evtData": data}, ts)

    def profile(
        self,
        properties: Mapping[str, Any],
        *,
        ids: Mapping[str, Any],
        ts: int | datetime | None = None,
    ) -> dict[str, Any]:
        """Return a profile update as the upload API wants it; see `event`."""
        return _timed({**_ids(ids), "type": "profile", "profileData": dated(properties, _date)}, ts)


def _prepared(kind: str, record: Mapping[str, Any], now_s: float) -> Prepared:
    ts = record.get("ts")
    if ts is None:
        ts = int(now_s)  # the vendor takes whole seconds
        if kind != _TOKEN:
            record = {**record, "ts": ts}
    body = serialize(record)
    name = str.__str__(record["evtName"]) if kind == _EVENT else ""
    for key in IDENTITY_KEYS:
        value = record.get(key)
        if value is not None and value != "":
            break
    who = str.__str__(value) if isinstance(value, str) else value
    return Prepared(kind, body, f"{key}:{who}".encode(), ts, name)


def _ids(ids: Mapping[str, Any]) -> dict[str, Any]:
    """Return the vendor's keys for our keywords, without those that are None."""
    unknown = [str(key) for key in ids if key not in _KEYWORDS]
    if unknown:
        raise InvalidRecord({key: ["must be identity, fbid, gpid or object_id"] for key in unknown})
    return {_KEYWORDS[key]: value for key, value in ids.items() if value is not None}


def _timed(record: dict[str, Any], ts: int | datetime | None) -> dict[str, Any]:
    if ts is not None:
        record["ts"] = epoch_s(ts) if isinstance(ts, datetime) else ts
    return record


def _date(seconds: int) -> str:
    return f"$D_{seconds}"
