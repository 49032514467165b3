"""Stored records, as producers make them and put them into the buffer."""

from __future__ import annotations

from collections.abc import Sequence

from worker.buffer.accept import accept
from worker.buffer.buffer import Buffer
from worker.buffer.records import new_id, pack_prepared
from worker.settings.destination import Destination
from worker.vendors.protocol import Prepared


def stored(prepared: Prepared, destination: Destination) -> bytes:
    """A record with an id of this moment."""
    return pack_prepared(new_id(), prepared, destination.timezone)


def put(buffer: Buffer, kind: str, identities: Sequence[bytes], stored: Sequence[bytes]) -> None:
    """Put stored records of one kind into a buffer, as a producer does."""
    accept(buffer.client, buffer.destination, kind, identities, stored)
