"""What a producer checks before it sends, without a producer and its Redis."""

from __future__ import annotations

import time
from typing import Any

from worker.errors import InvalidRecord
from worker.records import Prepared
from worker.schemas.vendors import schema_for
from worker.settings import Destination


class Validation:
    """Holds records against a destination's schema, and its kinds."""

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._schema = schema_for(destination)

    def prepare(self, record: Any) -> Prepared:
        """The record as it would be sent; InvalidRecord when it would be rejected."""
        prepared = self._schema.prepare(record, now_s=int(time.time()))
        if prepared.kind not in self._destination.kinds:
            takes = ", ".join(self._destination.kinds)
            raise InvalidRecord({"type": [f"{self._destination.name} takes {takes}"]})
        return prepared
