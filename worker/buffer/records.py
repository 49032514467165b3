r"""A record from acceptance to the wire: a short header, and the exact bytes to send.

    <id: 32 hex digits> <day: yyyymmdd> <name, JSON-escaped>\n<the record's JSON>

The id is a UUIDv7, so it carries the time of acceptance; day and name are what `settle` counts
deliveries by. Nothing after the line feed is ever parsed on the way to the vendor.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from uuid import UUID
from zoneinfo import ZoneInfo

import orjson
import uuid_utils

from ..vendors.protocol import Prepared

ID_LENGTH = 32
# No vendor limits the length of an event's name: a few thousand long ones in the cache would fill
# the memory of a producer (605 MB with 3000 of 100 kB).
_USUAL_NAME = 500


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A stored record taken apart; ``body`` is still the bytes that will be sent."""

    id: str
    day: str
    name: str
    body: bytes


def new_id() -> str:
    """Return a new time-ordered id (UUIDv7), 32 hex digits."""
    return str(uuid_utils.uuid7().hex)


def accepted_at_ms(record_id: str) -> int:
    """Return the epoch milliseconds in a UUIDv7, given as hex digits or in dashed form."""
    return int(record_id.replace("-", "")[:12], 16)


def canonical_id(record_id: str) -> str:
    """Return the stored form (32 hex digits) of any spelling of an id, or raise ValueError."""
    return UUID(record_id).hex


def pack(record_id: str, day: str, name: str, body: bytes) -> bytes:
    """Return the stored form of a record; ``record_id`` is 32 hex digits, ``day`` yyyymmdd."""
    header = _usual_header if len(name) <= _USUAL_NAME else _header
    return record_id.encode() + header(day, name) + body


def pack_prepared(record_id: str, prepared: Prepared, timezone: ZoneInfo) -> bytes:
    """Return the stored form of a prepared record; without a name it is counted on no day."""
    day = day_of(prepared.ts, timezone) if prepared.name else ""
    return pack(record_id, day, prepared.name, prepared.body)


def _header(day: str, name: str) -> bytes:
    """Return the bytes between a record's id and body, equal for a day's events of one name."""
    return b" " + day.encode() + b" " + orjson.dumps(name)[1:-1] + b"\n"


_usual_header = lru_cache(maxsize=4096)(_header)


def day_of(ts: int, timezone: ZoneInfo) -> str:
    """Return the day (yyyymmdd) of a quarter hour: all time zone offsets are multiples of it."""
    return _day(ts // 900, timezone)


@lru_cache(maxsize=4096)
def _day(quarter_hour: int, timezone: ZoneInfo) -> str:
    try:
        moment = datetime.fromtimestamp(quarter_hour * 900, UTC)
        return moment.astimezone(timezone).strftime("%Y%m%d")
    except (OverflowError, ValueError, OSError):
        return "00000000"  # a year beyond 9999: nothing is counted by such a day


def unpack(stored: bytes) -> StoredRecord:
    """Take a stored record apart; ValueError if its header is missing."""
    header, separator, body = stored.partition(b"\n")
    if not separator or len(header) < ID_LENGTH + 2:
        raise ValueError("not a stored record: its header is missing")
    record_id, day, name = header.decode().split(" ", 2)
    return StoredRecord(record_id, day, orjson.loads(f'"{name}"'), body)


def stored_body(stored: bytes) -> bytes:
    """Return the bytes to send."""
    return stored[stored.index(b"\n") + 1 :]


# The functions below handle every record of a batch, and nothing else in a worker does. So each is
# one comprehension over methods of bytes, and calls no function of ours (measured: a quarter of the
# time). A record is cut once, when it comes from Redis; its head is short.


def split_heads(stored: Iterable[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Return the heads of the records (id, day and name) and their bodies (the bytes to send)."""
    parts = [record.partition(b"\n") for record in stored]
    return [head for head, _, _ in parts], [body for _, _, body in parts]


def count_names(heads: Iterable[bytes]) -> Counter[bytes]:
    """Count the records of each day and event name; those without a name are left out."""
    counted = Counter([head[ID_LENGTH + 1 :] for head in heads])
    return Counter({key: n for key, n in counted.items() if key.partition(b" ")[2]})


def joined_ids(heads: Iterable[bytes]) -> bytes:
    """Return the records' ids, 16 bytes each."""
    return bytes.fromhex(b"".join([head[:ID_LENGTH] for head in heads]).decode())


def without(heads: Sequence[bytes], positions: Iterable[int]) -> Sequence[bytes]:
    """Return the heads except those at ``positions``, counted from 1."""
    left_out = set(positions)
    return [each for at, each in enumerate(heads, 1) if at not in left_out] if left_out else heads
