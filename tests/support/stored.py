"""Prepared records as the producer stores them."""

from __future__ import annotations

from worker.buffer import new_id
from worker.records import Prepared, day_of, pack
from worker.settings import Destination


def stored(prepared: Prepared, destination: Destination) -> bytes:
    """A record with an id of this moment."""
    day = day_of(prepared.ts, destination.timezone) if prepared.name else ""
    return pack(new_id(), day, prepared.name, prepared.body)
