"""The audit log: who did what, when, to how many; a stream in Redis, and a line in the log.

What moves records is written before it begins, and replaced by its outcome at the end. An entry
that says "began to" is still running, or its process died in the middle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import redis

from worker.buffer.keys import DASHBOARD
from worker.buffer.scripts import script
from worker.telemetry.logs import get_logger

log = get_logger(__name__)
KEY = f"{DASHBOARD}:audit"
KEPT = 1000
_TEXTS = ("user", "action", "destination", "what")


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One action of a user; ``count`` is in records, 0 for an action that is not about records.

    ``what`` names a group, a record by its id, or the reason of a pause, and never holds content.
    ``at_ms`` is by Redis' clock, and 0 until the entry is written.
    """

    user: str
    action: str
    destination: str = ""
    what: str = ""
    count: int = 0
    at_ms: int = 0


class AuditLog:
    """Writes entries, and reads the last thousand."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def append(self, entry: AuditEntry, replaces: str | None = None) -> str:
        """Write an entry, in place of an earlier one if given, and return its id."""
        fields = asdict(entry)
        del fields["at_ms"]  # Redis' clock sets it
        log.info("an operator acted", **fields)
        flat = (each for field in fields.items() for each in field)
        arguments = (KEPT, replaces or "", *flat)
        entry_id: bytes = script("audit_append").run(self._client, DASHBOARD, *arguments)
        return entry_id.decode()

    def run(self, entry: AuditEntry, action: Callable[[], tuple[str, int]]) -> int:
        """Write that an action begins, run it, and replace the entry by its outcome and count.

        ``entry.action`` is a verb, as in ``replay``; returns the count.
        """
        entry_id = self.append(replace(entry, action=f"began to {entry.action}"))
        outcome, count = action()
        self.append(replace(entry, action=outcome, count=count), replaces=entry_id)
        return count

    def latest(self, number: int = KEPT) -> Iterator[AuditEntry]:
        """Yield up to ``number`` entries, the newest first."""
        entries: Any = self._client.xrevrange(KEY, count=number)
        for entry_id, fields in entries:
            texts = {name: fields[name.encode()].decode("utf-8", "replace") for name in _TEXTS}
            at_ms = int(entry_id.partition(b"-")[0])
            yield AuditEntry(**texts, count=int(fields[b"count"]), at_ms=at_ms)
