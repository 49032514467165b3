"""Ingestion worker: single records in, full batches at the vendor, nothing lost between.

The public names of the producer's side; everything else is the worker's own.
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
    """Import the producer when it is first asked for: the errors alone need no Redis client."""
    if name in ("AsyncProducer", "Producer", "SendResult"):
        from .producer import producer

        return getattr(producer, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
