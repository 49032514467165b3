"""Which schema a destination's records are held against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from ..buffer.records import Prepared
from ..settings.destination import Destination


class Schema(Protocol):
    """A vendor's published rules, and the way from our neutral calls to the vendor's shape."""

    def prepare(self, record: Mapping[str, Any], *, now_s: float) -> Prepared:
        """Check a record in the vendor's shape, stamp its time when it has none, serialise it once.

        ``now_s`` is in epoch seconds; whether fractions of it are kept is the vendor's matter.

        Raises InvalidRecord, and nothing else, whatever it is given.
        """

    def event(
        self, name: str, properties: Mapping[str, Any], *, ids: Mapping[str, str], ts: int | None
    ) -> dict[str, Any]:
        """An event in the vendor's shape."""

    def profile(
        self, properties: Mapping[str, Any], *, ids: Mapping[str, str], ts: int | None
    ) -> dict[str, Any]:
        """A profile update in the vendor's shape."""


def schema_for(destination: Destination) -> Schema:
    """The schema of a destination's vendor, with the destination's limits."""
    if destination.vendor == "clevertap":
        from .clevertap.schema import CleverTapSchema, Limits

        return CleverTapSchema(
            Limits(event_properties=destination.event_properties, nested=destination.nested_objects)
        )
    from .bloomreach.schema import BloomreachSchema

    return BloomreachSchema(hard_id=destination.hard_id, soft_id=destination.soft_id)
