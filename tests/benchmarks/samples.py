"""The records for every contender: about 190 bytes of JSON per event."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from support.stored import put
from worker.buffer.buffer import Buffer
from worker.buffer.records import new_id, pack
from worker.vendors.protocol import Kind

NAME = "Product viewed"
TS = int(time.time())
DAY = time.strftime("%Y%m%d", time.gmtime(TS))
CHUNK = 1000


def identity(number: int) -> str:
    """Return the identity of the record with this number."""
    return f"user-{number:08d}"


def properties(sent_ms: int = 0) -> dict[str, Any]:
    """Return an event's properties; ``sent_ms`` is its creation time, for its age at delivery."""
    return {
        "Product": "Casio Chronograph Watch",
        "Category": "Watches",
        "Price": 59.99,
        "Sent": sent_ms or TS * 1000,
    }


def event(number: int, sent_ms: int = 0) -> dict[str, Any]:
    """Return the vendor-shaped event with this number."""
    return {
        "identity": identity(number),
        "type": Kind.EVENT,
        "evtName": NAME,
        "ts": TS,
        "evtData": properties(sent_ms),
    }


def profile(number: int) -> dict[str, Any]:
    """Return the vendor-shaped profile update with this number."""
    data = {"Name": "Jack Montana", "Email": "jack@example.com", "Customer Type": "Platinum"}
    return {"identity": identity(number), "type": Kind.PROFILE, "ts": TS, "profileData": data}


def body(number: int) -> bytes:
    """Return the JSON of an event, as sent."""
    return orjson.dumps(event(number))


def _chunks(size: int) -> Iterator[range]:
    return (range(at, min(at + CHUNK, size)) for at in range(0, size, CHUNK))


def fill_events(buffer: Buffer, size: int) -> None:
    """Buffer this many events, like a producer's `accept`."""
    for numbers in _chunks(size):
        put(buffer, Kind.EVENT, [], [pack(new_id(), DAY, NAME, body(each)) for each in numbers])


def fill_profiles(buffer: Buffer, size: int) -> None:
    """Buffer this many profile updates, each of a different person."""
    for numbers in _chunks(size):
        stored = [pack(new_id(), "", "", orjson.dumps(profile(each))) for each in numbers]
        put(buffer, Kind.PROFILE, [identity(each).encode() for each in numbers], stored)


def bodies(size: int) -> Iterator[Sequence[bytes]]:
    """Yield the JSON of this many events, a thousand at a time."""
    return ([body(each) for each in numbers] for numbers in _chunks(size))
