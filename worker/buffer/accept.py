"""How records enter the buffer: the arguments of `accept`, and what its answer means. Pure, so that
every way in shares it."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any
from zlib import crc32

from ..errors import BufferFull
from ..settings.destination import Destination


def identity_hash(identity: bytes) -> bytes:
    """Four bytes that choose an identity's partition: CRC-32, which is the same for ever."""
    return struct.pack(">I", crc32(identity))


def accept_arguments(
    destination: Destination, kind: str, identities: Sequence[bytes], stored: Sequence[bytes]
) -> list[Any]:
    """The arguments of `accept`: pure, so that both producers share it."""
    settings = destination.kinds[kind]
    hashes = b"".join(map(identity_hash, identities)) if settings.ordered else b""
    return [kind, settings.partitions, destination.max_buffered, hashes, *stored]


def accepted(destination: Destination, answer: int) -> None:
    """Raise BufferFull when `accept` answered that it took nothing."""
    if answer == -1:
        raise BufferFull(
            f"{destination.name}: the buffer holds its limit of {destination.max_buffered} records"
        )
    if answer == -2:
        raise BufferFull(f"{destination.name}: Redis is nearly out of memory")
