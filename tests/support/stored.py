"""Stored records, as producers make them and put them into the buffer."""

from __future__ import annotations

from collections.abc import Sequence

from worker.buffer.accept import accept
from worker.buffer.buffer import Buffer
from worker.buffer.records import new_id, pack_prepared
from worker.dead_letters.letters import DeadLetter
from worker.settings.destination import Destination
from worker.vendors.protocol import Prepared


def stored(prepared: Prepared, destination: Destination) -> bytes:
    """A record with an id of this moment."""
    return pack_prepared(new_id(), prepared, destination.timezone)


def put(buffer: Buffer, kind: str, identities: Sequence[bytes], stored: Sequence[bytes]) -> None:
    """Put stored records of one kind into a buffer, as a producer does."""
    accept(buffer.client, buffer.destination, kind, identities, stored)


DEAD_PROFILE = DeadLetter(
    id=f"{1:032x}",
    destination="clevertap",
    kind="profile",
    reason="refused",
    code=516,
    error="No.",
    attempts=1,
    name="",
    body=b"{}",
    entry="1000-0",
)
