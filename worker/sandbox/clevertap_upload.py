"""CleverTap's response to an upload: the accepted records and the body. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from worker.sandbox import error_codes
from worker.sandbox.calling_codes import is_phone
from worker.sandbox.clevertap_json import spaced
from worker.sandbox.error_codes import ErrorCode

MALFORMED = "Malformed request"


class Malformed(ValueError):
    """The whole request is refused (HTTP 400): not JSON, no list ``d``, or a list too long."""


@dataclass(frozen=True, slots=True)
class SkippedRecord:
    """A record with an error, and its position, counted from 1 in the request."""

    position: int
    record: Any
    error: ErrorCode


@dataclass(frozen=True, slots=True)
class UploadOutcome:
    """The result of a request: every record is either ``accepted`` or ``skipped``."""

    accepted: Sequence[dict[str, Any]]
    skipped: Sequence[SkippedRecord]


def records_of(body: bytes, max_records: int) -> list[Any]:
    """Return the records of a request body; raise `Malformed`."""
    try:
        envelope = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Malformed(MALFORMED) from error
    records = envelope.get("d") if isinstance(envelope, dict) else None
    if not isinstance(records, list) or len(records) > max_records:
        raise Malformed(MALFORMED)
    return records


def validate_records(
    records: Sequence[Any], validate: Callable[[Any], ErrorCode | None]
) -> UploadOutcome:
    """Separate accepted records from those with an error."""
    accepted: list[dict[str, Any]] = []
    skipped: list[SkippedRecord] = []
    for position, record in enumerate(records, 1):
        error = validate(record)
        if error is None:
            accepted.append(record)
        else:
            skipped.append(SkippedRecord(position, record, error))
    return UploadOutcome(accepted, skipped)


def response_body(outcome: UploadOutcome) -> bytes:
    """Return the response body with the server's spacing."""
    status = "success" if not outcome.skipped else "partial" if outcome.accepted else "fail"
    body = {
        "status": status,
        "processed": len(outcome.accepted),
        "unprocessed": [_unprocessed(skipped) for skipped in outcome.skipped],
    }
    return spaced(body).encode()


def failure(error: str, code: int | str) -> bytes:
    """Return the body that refuses the whole request."""
    return spaced({"status": "fail", "error": error, "code": code}).encode()


def _unprocessed(skipped: SkippedRecord) -> dict[str, Any]:
    return {
        "status": "fail",
        "code": skipped.error.code,
        "error": skipped.error.at(skipped.position),
        "record": _echo(skipped.record, skipped.error.code),
    }


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
