"""Put encoded records into the buffer: the arguments and the results of `accept_requests`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from zlib import crc32

from ..errors import BufferFull
from ..settings.destination import Destination
from .keys import base
from .scripts import script

# What the script returns for a request, besides the answer kept for its idempotency key.
ACCEPTED: Final = 1
FULL: Final = -1
MEMORY_FULL: Final = -2
KEY_REUSED: Final = -3


def identity_hash(identity: bytes) -> bytes:
    """Return four bytes that choose an identity's partition: CRC-32, which never changes."""
    return crc32(identity).to_bytes(4, "big")


def accept(
    client: Any,
    destination: Destination,
    kind: str,
    identities: Sequence[bytes],
    stored: Sequence[bytes],
) -> None:
    """Put records of one kind into the buffer, all or none; raises BufferFull or RedisError."""
    request = "", destination.max_buffered, *partition_arguments(destination, kind, identities)
    run = script("accept_requests").run
    raise_if_full(destination, run(client, base(destination.name), *request, *stored))


async def accept_async(
    client: Any,
    destination: Destination,
    kind: str,
    identities: Sequence[bytes],
    stored: Sequence[bytes],
) -> None:
    """Put records into the buffer with an asyncio client; see accept."""
    request = "", destination.max_buffered, *partition_arguments(destination, kind, identities)
    run = script("accept_requests").run_async
    raise_if_full(destination, await run(client, base(destination.name), *request, *stored))


def partition_arguments(
    destination: Destination, kind: str, identities: Sequence[bytes]
) -> tuple[str, int, bytes]:
    """Return the arguments that choose the partitions of records of one kind."""
    settings = destination.kinds[kind]
    hashes = b"".join(map(identity_hash, identities)) if settings.ordered else b""
    return kind, settings.partitions, hashes


def raise_if_full(destination: Destination, result: Any) -> None:
    """Raise BufferFull when the script accepted nothing of the request for want of room."""
    if result == FULL:
        raise BufferFull(
            f"{destination.name}: the buffer holds its limit of {destination.max_buffered} records"
        )
    if result == MEMORY_FULL:
        raise BufferFull(f"{destination.name}: Redis is nearly out of memory")
