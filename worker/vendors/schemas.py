"""Which schema a destination's records are held against."""

from __future__ import annotations

from ..settings.destination import Destination
from .protocol import Schema


def schema_for(destination: Destination) -> Schema:
    """The schema of a destination's vendor, with the destination's limits."""
    if destination.vendor == "clevertap":
        from .clevertap.schema import CleverTapSchema, Limits

        return CleverTapSchema(
            Limits(event_properties=destination.event_properties, nested=destination.nested_objects)
        )
    from .bloomreach.schema import BloomreachSchema

    return BloomreachSchema(hard_id=destination.hard_id, soft_id=destination.soft_id)
