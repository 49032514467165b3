"""How records enter the buffer: the arguments and the results of `accept_requests`."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final
from zlib import crc32

from ..errors import BufferFull
from ..settings.destination import Destination

# What the script returns for a request, besides the answer kept for its idempotency key.
ACCEPTED: Final = 1
FULL: Final = -1
MEMORY_FULL: Final = -2
KEY_REUSED: Final = -3


def identity_hash(identity: bytes) -> bytes:
    """Return four bytes that choose an identity's partition: CRC-32, which never changes."""
    return struct.pack(">I", crc32(identity))


def accept_arguments(
    destination: Destination, kind: str, identities: Sequence[bytes], stored: Sequence[bytes]
) -> list[Any]:
    """Return the arguments for records of one kind: the script's short form."""
    settings = destination.kinds[kind]
    hashes = b"".join(map(identity_hash, identities)) if settings.ordered else b""
    return ["", destination.max_buffered, kind, settings.partitions, hashes, *stored]


def group_arguments(
    destination: Destination, kind: str, identities: Sequence[bytes], stored: Sequence[bytes]
) -> list[Any]:
    """Return the arguments for the records of one kind in a request of several."""
    _, _, *group = accept_arguments(destination, kind, identities, stored)
    group.insert(3, len(stored))
    return group


def raise_if_full(destination: Destination, result: Any) -> None:
    """Raise BufferFull when the script accepted nothing of the request for want of room."""
    if result == FULL:
        raise BufferFull(
            f"{destination.name}: the buffer holds its limit of {destination.max_buffered} records"
        )
    if result == MEMORY_FULL:
        raise BufferFull(f"{destination.name}: Redis is nearly out of memory")
