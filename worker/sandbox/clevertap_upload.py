"""CleverTap's response to an upload, spaced as its server writes JSON. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import orjson

from worker.sandbox import error_codes
from worker.sandbox.clevertap_rules import is_phone
from worker.sandbox.error_codes import ErrorCode

MALFORMED = "Malformed request"


class Malformed(ValueError):
    """The whole request is refused (HTTP 400): not JSON, no list ``d``, or a list too long."""


class UploadOutcome(NamedTuple):
    """The records accepted, and the response's items for the others."""

    accepted: Sequence[dict[str, Any]]
    skipped: Sequence[dict[str, Any]]


def records_of(body: bytes, max_records: int) -> list[Any]:
    """Return the records of a request body; raise `Malformed`."""
    with suppress(orjson.JSONDecodeError):
        envelope = orjson.loads(body)
        records = envelope.get("d") if isinstance(envelope, dict) else None
        if isinstance(records, list) and len(records) <= max_records:
            return records
    raise Malformed(MALFORMED)


def validate_records(
    records: Sequence[Any], validate: Callable[[Any], ErrorCode | None]
) -> UploadOutcome:
    """Separate accepted records from those with an error."""
    outcome = UploadOutcome(accepted := [], skipped := [])
    for position, record in enumerate(records, 1):
        if (error := validate(record)) is None:
            accepted.append(record)
        else:
            text, echo = error.at(position), _echo(record, error.code)
            skipped.append({"status": "fail", "code": error.code, "error": text, "record": echo})
    return outcome


def response_body(outcome: UploadOutcome) -> bytes:
    """Return the response body with the server's spacing."""
    accepted, skipped = outcome
    status = "success" if not skipped else "partial" if accepted else "fail"
    body = {"status": status, "processed": len(accepted), "unprocessed": skipped}
    return spaced(body).encode()


def failure(error: str, code: int | str) -> bytes:
    """Return the body that refuses the whole request."""
    return spaced({"status": "fail", "error": error, "code": code}).encode()


def spaced(value: Any) -> str:
    """Serialise JSON as ``{ "k" : v , "l" : [ 1 , 2]}``, empty as ``[ ]``, ``{ }``.

    The spacing comes from recorded responses (2017 and 2018). It is valid JSON; sending it byte for
    byte catches a client that compares text instead of parsing.
    """
    if isinstance(value, dict):
        members = (f"{spaced(str(key))} : {spaced(item)}" for key, item in value.items())
        return "{ " + " , ".join(members) + "}"
    if isinstance(value, list | tuple):
        return "[ " + " , ".join(map(spaced, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _echo(record: Any, code: int) -> Any:
    """Return the record as the server echoes it: changed by the checks it has passed."""
    data = record.get("profileData") if isinstance(record, dict) else None
    if not isinstance(data, dict) or not error_codes.EMPLOYED.code <= code <= error_codes.AGE.code:
        return record
    changed = dict(data)
    if is_phone(data.get("Phone")):  # others fail that check, unless a fault was set
        changed["Phone"] = int(data["Phone"])
    if code == error_codes.AGE.code and type(data.get("identity")) is int:
        changed["identity"] = str(data["identity"])
    return {**record, "profileData": changed}
