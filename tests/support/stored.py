"""Prepared records as the producer stores them."""

from __future__ import annotations

from worker.buffer.records import new_id, pack_prepared
from worker.settings.destination import Destination
from worker.vendors.protocol import Prepared


def stored(prepared: Prepared, destination: Destination) -> bytes:
    """A record with an id of this moment."""
    return pack_prepared(new_id(), prepared, destination.timezone)
