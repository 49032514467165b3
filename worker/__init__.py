"""Ingestion worker: accept single records, deliver full batches to the vendor, lose nothing.

These are the public names, for producers; everything else is internal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import BufferError, BufferFull, BufferUnavailable, IngestError, InvalidRecord

if TYPE_CHECKING:
    from .producer.producer import AsyncProducer, Producer, SendResult

__all__ = [
    "AsyncProducer",
    "BufferError",
    "BufferFull",
    "BufferUnavailable",
    "IngestError",
    "InvalidRecord",
    "Producer",
    "SendResult",
]


def __getattr__(name: str) -> Any:
    """Import the producer on first use: the errors alone need no Redis client."""
    if name in ("AsyncProducer", "Producer", "SendResult"):
        from .producer import producer

        return getattr(producer, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
