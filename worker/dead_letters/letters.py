"""Dead letters: records that could not be delivered, kept until they are replayed or purged.

They are in one stream per kind, where an entry's id carries the time of failure. They are read
page by page, so memory stays flat however many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby, islice
from operator import attrgetter
from typing import Any
from uuid import UUID

import orjson
import redis

from ..buffer import keys
from ..buffer.records import accepted_at_ms, unpack
from ..buffer.scripts import script
from ..settings.destination import Destination

# A page of usual records is 100 KB; of the largest that a vendor takes (800 KB) it would be large.
PAGE = 500
# Of one call of `find_dead`: about a millisecond of Redis' time.
PAGE_TO_SEARCH = 1000
# The producer's clock and Redis' may differ; a record that failed "before" its acceptance by more
# than this is still found, by searching everything.
CLOCK_MARGIN_MS = 60_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One record that failed, and why.

    ``id`` is the record's (32 hex digits), ``entry`` its id in the stream, ``code`` the vendor's or
    None, and ``body`` the JSON as it was sent.
    """

    id: str
    destination: str
    kind: str
    reason: str
    code: int | None
    error: str
    attempts: int
    name: str
    body: bytes
    entry: str

    @property
    def record(self) -> Any:
        """The record itself, parsed on each call."""
        return orjson.loads(self.body)

    @property
    def failed_at_ms(self) -> int:
        """The time of failure in epoch milliseconds, by Redis' clock."""
        return int(self.entry.partition("-")[0])

    def to_json(self) -> dict[str, Any]:
        """Return what `dlq list --json` and `dlq export` print; times are ISO 8601, UTC."""
        return {
            "id": str(UUID(self.id)),
            "destination": self.destination,
            "kind": self.kind,
            "reason": self.reason,
            "code": self.code,
            "error": self.error,
            "attempts": self.attempts,
            "accepted_at": iso(accepted_at_ms(self.id)),
            "failed_at": iso(self.failed_at_ms),
            "record": self.record,
        }


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Selects dead letters; a field that is None matches all.

    ``code`` is the vendor's, or one of our reasons (``expired``); ``id`` is 32 hex digits.
    """

    kind: str | None = None
    code: str | None = None
    id: str | None = None

    def __call__(self, letter: DeadLetter) -> bool:
        return (
            self.kind in (None, letter.kind)
            and self.id in (None, letter.id)
            and (self.code is None or self.code in (str(letter.code), letter.reason))
        )


EVERYTHING = LetterFilter()


class DeadLetters:
    """The dead letters of one destination."""

    def __init__(self, client: redis.Redis, destination: Destination) -> None:
        self.client = client
        self.destination = destination

    def select(self, where: LetterFilter = EVERYTHING) -> Selection:
        """Return the matching dead letters of this moment; later ones are not included."""
        last: dict[str, str] = {}
        total = 0
        for kind in self.destination.kinds:
            if where.kind in (None, kind):
                # No transaction: a full Redis would refuse even reads in one.
                with self.client.pipeline(transaction=False) as pipeline:
                    stream = keys.dead(self.destination.name, kind)
                    pipeline.xrevrange(stream, count=1)
                    pipeline.xlen(stream)
                    newest, size = pipeline.execute()
                if newest:
                    last[kind] = newest[0][0].decode()
                    total += size
        counted = where.code is None and where.id is None
        return Selection(self, lambda: self._read(where, last), total if counted else None)

    def _read(self, where: LetterFilter, last: Mapping[str, str]) -> Iterator[DeadLetter]:
        """Yield what matches, kind by kind, the oldest first, up to ``last`` of each kind."""
        if where.id is not None:
            letter = self.find(where.id, last)
            if letter is not None and where(letter):
                yield letter
            return
        for kind, newest in last.items():
            begin = "-"
            while page := self.page(kind, begin, newest, PAGE):
                yield from filter(where, page)
                begin = f"({page[-1].entry}"

    def find(self, record_id: str, last: Mapping[str, str] | None = None) -> DeadLetter | None:
        """Find the dead letter of a record (32 hex digits), if any, up to ``last`` of each kind."""
        last = dict.fromkeys(self.destination.kinds, "+") if last is None else last
        begins = max(1, accepted_at_ms(record_id) - CLOCK_MARGIN_MS)  # Redis refuses 0-0 as an end
        # Nearly always it failed after it was accepted. The second range is for wrong clocks.
        for span in ((f"{begins}-0", None), ("-", f"({begins}-0")):
            for kind, newest in last.items():
                if letter := self._find(kind, record_id, span[0], span[1] or newest, newest):
                    return letter
        return None

    def _find(
        self, kind: str, record_id: str, begin: str, end: str, newest: str
    ) -> DeadLetter | None:
        base = keys.base(self.destination.name)
        while True:
            found, looked = script("find_dead").run(
                self.client, base, kind, record_id, begin, end, PAGE_TO_SEARCH
            )
            if found:
                page = self.page(kind, found.decode(), newest, 1)
                return page[0] if page and page[0].id == record_id else None
            if not looked:
                return None
            begin = f"({looked.decode()}"

    def page(self, kind: str, begin: str, end: str, count: int | None = None) -> list[DeadLetter]:
        """Return the dead letters between two entries of the stream, as XRANGE does."""
        stream = keys.dead(self.destination.name, kind)
        entries: Any = self.client.xrange(stream, begin, end, count)
        return [self._letter(kind, entry, fields) for entry, fields in entries]

    def _letter(self, kind: str, entry: bytes, fields: Mapping[bytes, bytes]) -> DeadLetter:
        stored = unpack(fields[b"record"])
        code = fields[b"code"].decode()
        return DeadLetter(
            id=stored.id,
            destination=self.destination.name,
            kind=kind,
            reason=fields[b"reason"].decode(),
            code=int(code) if code else None,
            error=fields[b"error"].decode("utf-8", "replace"),
            attempts=int(fields[b"attempts"]),
            name=stored.name,
            body=stored.body,
            entry=entry.decode(),
        )


@dataclass(frozen=True, slots=True)
class Selection:
    """A snapshot of dead letters, which ``read`` yields; it may be iterated more than once.

    ``size`` is their number; None when only reading them all would show it.
    """

    letters: DeadLetters
    read: Callable[[], Iterator[DeadLetter]]
    size: int | None = None

    def __iter__(self) -> Iterator[DeadLetter]:
        return self.read()

    def chunks(self, size: int) -> Iterator[list[DeadLetter]]:
        """Iterate over lists of at most ``size``, of one kind each."""
        for _, alike in groupby(self, attrgetter("kind")):
            while chunk := list(islice(alike, size)):
                yield chunk

    def count(self) -> int:
        """Return their number, by reading them all if need be."""
        return sum(1 for _ in self) if self.size is None else self.size

    def purge(self, advance: Callable[[int], object] = lambda _: None) -> int:
        """Delete them, counted as purged; return how many. ``advance`` gets the progress."""
        base, purged = keys.base(self.letters.destination.name), 0
        for chunk in self.chunks(PAGE):
            arguments = (chunk[0].kind, *(letter.entry for letter in chunk))
            purged += script("purge").run(self.letters.client, base, *arguments)
            advance(len(chunk))
        return purged


def iso(epoch_ms: int) -> str:
    """Return epoch milliseconds as ISO 8601 in UTC; OverflowError beyond the year 9999."""
    moment = _EPOCH + timedelta(milliseconds=epoch_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def epoch_ms(text: Any) -> int:
    """Parse what `iso` returns; return 0 for anything else."""
    try:
        return (datetime.fromisoformat(text) - _EPOCH) // timedelta(milliseconds=1)
    except (TypeError, ValueError):
        return 0
