"""CleverTap's answer to an upload: the records it took, and the bytes it says so in. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from worker.sandbox import error_codes as refusals
from worker.sandbox.calling_codes import is_phone
from worker.sandbox.clevertap_json import spaced
from worker.sandbox.error_codes import Refusal

MALFORMED = "Malformed request"


class Malformed(ValueError):
    """The request as a whole is refused (HTTP 400): no JSON, no list ``d``, or too long a one."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A refused record and its position, counted from 1 in the request."""

    position: int
    record: Any
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Upload:
    """What became of a request: together, ``taken`` and ``skipped`` are all of its records."""

    taken: Sequence[dict[str, Any]]
    skipped: Sequence[Skipped]


def records_of(body: bytes, max_records: int) -> list[Any]:
    """The records of a request body; raises `Malformed`."""
    try:
        envelope = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Malformed(MALFORMED) from error
    records = envelope.get("d") if isinstance(envelope, dict) else None
    if not isinstance(records, list) or len(records) > max_records:
        raise Malformed(MALFORMED)
    return records


def sift(records: Sequence[Any], judge: Callable[[Any], Refusal | None]) -> Upload:
    """Part the records that ``judge`` takes from those it refuses, in one pass."""
    taken: list[dict[str, Any]] = []
    skipped: list[Skipped] = []
    for position, record in enumerate(records, 1):
        refusal = judge(record)
        if refusal is None:
            taken.append(record)
        else:
            skipped.append(Skipped(position, record, refusal))
    return Upload(taken, skipped)


def answer(upload: Upload, *, of_2017: bool = False) -> bytes:
    """The body of the answer, byte for byte as the server spaces it."""
    body = {
        "status": _status(upload, of_2017),
        "processed": len(upload.taken),
        "unprocessed": [_unprocessed(skipped, of_2017) for skipped in upload.skipped],
    }
    return spaced(body).encode()


def failure(error: str, code: int | str) -> bytes:
    """The body of a refusal of the whole request."""
    return spaced({"status": "fail", "error": error, "code": code}).encode()


def _status(upload: Upload, of_2017: bool) -> str:
    if of_2017 or not upload.skipped:
        return "success"
    return "partial" if upload.taken else "fail"


def _unprocessed(skipped: Skipped, of_2017: bool) -> dict[str, Any]:
    echo = _echo(skipped.record, skipped.refusal.code)
    return {
        "status": "fail",
        "code": skipped.refusal.code,
        "error": skipped.refusal.at(skipped.position),
        "record": spaced(echo) if of_2017 else echo,
    }


def _echo(record: Any, code: int) -> Any:
    """The record as the server sends it back: changed by the checks that it had already passed."""
    data = record.get("profileData") if isinstance(record, dict) else None
    if not isinstance(data, dict) or not refusals.EMPLOYED.code <= code <= refusals.AGE.code:
        return record
    changed = dict(data)
    if is_phone(data.get("Phone")):  # no other gets past that check, save by an ordered fault
        changed["Phone"] = int(data["Phone"])
    if code == refusals.AGE.code and type(data.get("identity")) is int:
        changed["identity"] = str(data["identity"])
    return {**record, "profileData": changed}
