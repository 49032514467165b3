"""CleverTap's response to an upload: accepted records and the body. Pure."""

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
    """The whole request is refused (HTTP 400): not JSON, no list ``d``, or one too long."""


@dataclass(frozen=True, slots=True)
class SkippedRecord:
    """A refused record and its position, counted from 1 in the request."""

    position: int
    record: Any
    refusal: ErrorCode


@dataclass(frozen=True, slots=True)
class UploadOutcome:
    """The result of a request: ``taken`` and ``skipped`` are together all of its records."""

    taken: Sequence[dict[str, Any]]
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
    """Separate accepted from refused records, in one pass."""
    taken: list[dict[str, Any]] = []
    skipped: list[SkippedRecord] = []
    for position, record in enumerate(records, 1):
        refusal = validate(record)
        if refusal is None:
            taken.append(record)
        else:
            skipped.append(SkippedRecord(position, record, refusal))
    return UploadOutcome(taken, skipped)


def answer(upload: UploadOutcome, *, of_2017: bool = False) -> bytes:
    """Return the response body, byte for byte as the server spaces it."""
    body = {
        "status": _status(upload, of_2017),
        "processed": len(upload.taken),
        "unprocessed": [_unprocessed(skipped, of_2017) for skipped in upload.skipped],
    }
    return spaced(body).encode()


def failure(error: str, code: int | str) -> bytes:
    """Return the body that refuses the whole request."""
    return spaced({"status": "fail", "error": error, "code": code}).encode()


def _status(upload: UploadOutcome, of_2017: bool) -> str:
    if of_2017 or not upload.skipped:
        return "success"
    return "partial" if upload.taken else "fail"


def _unprocessed(skipped: SkippedRecord, of_2017: bool) -> dict[str, Any]:
    echo = _echo(skipped.record, skipped.refusal.code)
    return {
        "status": "fail",
        "code": skipped.refusal.code,
        "error": skipped.refusal.at(skipped.position),
        "record": spaced(echo) if of_2017 else echo,
    }


def _echo(record: Any, code: int) -> Any:
    """Return the record as the server echoes it: changed by the checks it has passed."""
    data = record.get("profileData") if isinstance(record, dict) else None
    if not isinstance(data, dict) or not error_codes.EMPLOYED.code <= code <= error_codes.AGE.code:
        return record
    changed = dict(data)
    if is_phone(data.get("Phone")):  # no other gets past that check, save by an ordered fault
        changed["Phone"] = int(data["Phone"])
    if code == error_codes.AGE.code and type(data.get("identity")) is int:
        changed["identity"] = str(data["identity"])
    return {**record, "profileData": changed}
