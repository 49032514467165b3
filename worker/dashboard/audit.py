"""Who did what, when, and to how many: a stream in Redis, and a line in the log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import redis

from worker.keys import DASHBOARD
from worker.telemetry import get_logger

log = get_logger(__name__)
KEY = f"{DASHBOARD}:audit"
KEPT = 1000


@dataclass(frozen=True, slots=True)
class Deed:
    """One line; ``what`` names a group or a record by its id, and never content.

    ``count`` is in records, ``at_ms`` by Redis' clock.
    """

    at_ms: int
    user: str
    action: str
    destination: str
    what: str
    count: int


class Audit:
    """Writes and reads the last thousand deeds."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def note(self, user: str, action: str, destination: str, what: str, count: int = 1) -> None:
        """Write a deed down."""
        fields: dict[Any, Any] = {
            "user": user,
            "action": action,
            "destination": destination,
            "what": what,
            "count": count,
        }
        log.info("an operator acted", **fields)
        self._client.xadd(KEY, fields, maxlen=KEPT, approximate=False)

    def last(self, number: int = 200) -> Iterator[Deed]:
        """The last so many, the newest first."""
        entries: Any = self._client.xrevrange(KEY, count=number)
        for entry, fields in entries:
            at_ms = int(entry.partition(b"-")[0])
            user, action, destination, what = (_told(fields, name) for name in _TEXTS)
            yield Deed(at_ms, user, action, destination, what, int(fields[b"count"]))


_TEXTS = (b"user", b"action", b"destination", b"what")


def _told(fields: Mapping[bytes, bytes], name: bytes) -> str:
    return fields[name].decode("utf-8", "replace")
