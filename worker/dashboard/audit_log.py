"""Who did what, when, and to how many: a stream in Redis, and a line in the log.

What moves records is written down before it begins, and exchanged for its outcome at its end. A
line that tells only of a beginning is of something under way, or of a process that died in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import redis

from worker.buffer.keys import DASHBOARD
from worker.buffer.scripts import script
from worker.telemetry.logs import get_logger

log = get_logger(__name__)
KEY = f"{DASHBOARD}:audit"
KEPT = 1000


@dataclass(frozen=True, slots=True)
class Entry:
    """What is written of a deed; ``what`` names a group or a record by its id, or gives the reason
    of a pause, and never holds content. ``count`` is in records; 0 where it is about none.
    """

    user: str
    action: str
    destination: str = ""
    what: str = ""
    count: int = 0


@dataclass(frozen=True, slots=True)
class AuditEntry(Entry):
    """A line as it is read; ``at_ms`` by Redis' clock."""

    at_ms: int = 0


class Audit:
    """Writes and reads the last thousand deeds."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def note(self, entry: Entry, instead_of: str | None = None) -> str:
        """Write a deed down, in place of its beginning if it had one; returns the line's id."""
        fields = asdict(entry)
        log.info("an operator acted", **fields)
        told = (each for field in fields.items() for each in field)
        written: bytes = script("audit_append").run(
            self._client, DASHBOARD, KEPT, instead_of or "", *told
        )
        return written.decode()

    def begin(self, entry: Entry) -> Begun:
        """Write down what is about to be done; ``action`` is one word, as in ``replay``."""
        return Begun(self, entry, self.note(replace(entry, action=f"began to {entry.action}")))

    def last(self, number: int = KEPT) -> Iterator[AuditEntry]:
        """The last so many, the newest first."""
        entries: Any = self._client.xrevrange(KEY, count=number)
        for entry, fields in entries:
            at_ms = int(entry.partition(b"-")[0])
            user, action, destination, what = (_told(fields, name) for name in _TEXTS)
            count = int(fields[b"count"])
            yield AuditEntry(user, action, destination, what, count, at_ms=at_ms)


@dataclass(frozen=True, slots=True)
class Begun:
    """A deed under way, and the line that says so."""

    audit: Audit
    entry: Entry
    line: str

    def end(self, action: str, count: int) -> None:
        """Exchange the line for what became of it."""
        self.audit.note(replace(self.entry, action=action, count=count), instead_of=self.line)


_TEXTS = (b"user", b"action", b"destination", b"what")


def _told(fields: Mapping[bytes, bytes], name: bytes) -> str:
    return fields[name].decode("utf-8", "replace")
