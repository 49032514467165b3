"""Dead letters: records that nothing more is tried for, kept until they are replayed or purged.

They lie in one stream for each kind, written by `settle`; an entry's id in the stream carries the
time of death. Everything here reads page by page, so memory stays flat however many there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from uuid import UUID

import orjson
import redis

from ..buffer import keys
from ..buffer.records import accepted_at_ms, unpack
from ..buffer.scripts import script
from ..settings.destination import Destination

# A page of the largest records a vendor takes (800 KB) would be large; one of usual ones is 100 KB.
PAGE = 500

# One call of `find_dead` looks at so many: about a millisecond of Redis' time.
LOOK = 1000

# The producer's clock and Redis' may differ; a record that died "before" its acceptance by more
# than this is still found, by looking at everything.
CLOCK_MARGIN_MS = 60_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One record that died, and why.

    ``id`` is the record's (32 hex digits), ``entry`` its place in the stream, ``code`` the vendor's
    where it gave one, ``attempts`` how many were counted, ``body`` the JSON as it was sent.
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
        """The record itself, parsed anew on each call."""
        return orjson.loads(self.body)

    @property
    def failed_at_ms(self) -> int:
        """The time of death in epoch milliseconds, by Redis' clock."""
        return int(self.entry.partition("-")[0])

    def to_json(self) -> dict[str, Any]:
        """What `dlq list --json` and `dlq export` print of it; times are ISO 8601, UTC."""
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
    """Which dead letters are meant; what is None excludes nothing.

    ``code`` is the vendor's, or one of our reasons (``expired``); ``id`` is the record's 32 hex
    digits.
    """

    kind: str | None = None
    code: str | None = None
    id: str | None = None

    def __call__(self, letter: DeadLetter) -> bool:
        """Whether this one is meant."""
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
        """Those meant among the dead letters of this moment; later ones are never touched by it."""
        last: dict[str, str] = {}
        sizes: dict[str, int] = {}
        for kind in self.destination.kinds:
            if where.kind in (None, kind):
                # No transaction: a full Redis would refuse even to read in one.
                with self.client.pipeline(transaction=False) as together:
                    stream = keys.dead(self.destination.name, kind)
                    together.xrevrange(stream, count=1)
                    together.xlen(stream)
                    newest, size = together.execute()
                if newest:
                    last[kind], sizes[kind] = newest[0][0].decode(), size
        return Selection(self, where, last, sizes)

    def find(self, record_id: str, last: Mapping[str, str] | None = None) -> DeadLetter | None:
        """The dead letter of a record (32 hex digits), or None; up to ``last`` of each kind."""
        last = dict.fromkeys(self.destination.kinds, "+") if last is None else last
        begins = max(1, accepted_at_ms(record_id) - CLOCK_MARGIN_MS)  # 0-0 is no end to Redis
        # Nearly always it died after it was accepted. The other stretch is for clocks gone wrong.
        for stretch in ((f"{begins}-0", None), ("-", f"({begins}-0")):
            for kind, newest in last.items():
                if letter := self._find(kind, record_id, stretch[0], stretch[1] or newest, newest):
                    return letter
        return None

    def _find(
        self, kind: str, record_id: str, begin: str, end: str, newest: str
    ) -> DeadLetter | None:
        base = keys.base(self.destination.name)
        while True:
            found, looked = script("find_dead").run(
                self.client, base, kind, record_id, begin, end, LOOK
            )
            if found:
                page = self.page(kind, found.decode(), found.decode())
                return page[0] if page and _not_after(page[0].entry, newest) else None
            if not looked:
                return None
            begin = f"({looked.decode()}"

    def page(self, kind: str, begin: str, end: str, count: int | None = None) -> list[DeadLetter]:
        """The dead letters between two entries of the stream, as XRANGE has them."""
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


class Selection:
    """The dead letters that a filter meant at one moment: may be read again, and grows never."""

    def __init__(
        self,
        letters: DeadLetters,
        where: LetterFilter,
        last: Mapping[str, str],
        sizes: Mapping[str, int],
    ) -> None:
        self.letters = letters
        self.where = where
        self._last = last
        self._sizes = sizes

    def __iter__(self) -> Iterator[DeadLetter]:
        """The dead letters, kind by kind, the oldest death first."""
        if self.where.id is not None:
            letter = self.letters.find(self.where.id, self._last)
            if letter is not None and self.where(letter):
                yield letter
            return
        for kind, last in self._last.items():
            begin = "-"
            while page := self.letters.page(kind, begin, last, PAGE):
                yield from filter(self.where, page)
                begin = f"({page[-1].entry}"

    def chunks(self, size: int) -> Iterator[list[DeadLetter]]:
        """The same in lists of one kind each, of at most ``size``."""
        chunk: list[DeadLetter] = []
        for letter in self:
            if chunk and (len(chunk) >= size or chunk[0].kind != letter.kind):
                yield chunk
                chunk = []
            chunk.append(letter)
        if chunk:
            yield chunk

    @property
    def size(self) -> int | None:
        """How many there were at that moment; None where only reading them would tell."""
        if self.where.code is None and self.where.id is None:
            return sum(self._sizes.values())
        return None

    def count(self) -> int:
        """How many there are, read through where need be."""
        return sum(1 for _ in self) if self.size is None else self.size

    def purge(self, advance: Callable[[int], object] = lambda _: None) -> int:
        """Throw them away, counted as purged; returns how many, ``advance`` is told as it goes."""
        destination, purged = self.letters.destination.name, 0
        for chunk in self.chunks(PAGE):
            entries = [letter.entry for letter in chunk]
            arguments = (chunk[0].kind, *entries)
            purged += script("purge").run(self.letters.client, keys.base(destination), *arguments)
            advance(len(chunk))
        return purged


def _not_after(entry: str, newest: str) -> bool:
    """Whether an entry of a stream is no younger than another; ``+`` is the youngest."""
    if newest == "+":
        return True
    return _order(entry) <= _order(newest)


def _order(entry: str) -> tuple[int, ...]:
    return tuple(map(int, entry.split("-")))


def chain_letters(
    selections: Iterable[Selection], limit: int | None = None
) -> Iterator[DeadLetter]:
    """The dead letters of several selections, one after the other, at most ``limit``."""
    every = (letter for selection in selections for letter in selection)
    return islice(every, limit)


def iso(epoch_ms: int) -> str:
    """Epoch milliseconds as ISO 8601 in UTC; OverflowError beyond the year 9999."""
    moment = _EPOCH + timedelta(milliseconds=epoch_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def epoch_ms(text: Any) -> int:
    """Epoch milliseconds of what `iso` writes; 0 when it is nothing of the kind."""
    try:
        moment = datetime.fromisoformat(text)
        return (moment - _EPOCH) // timedelta(milliseconds=1)
    except (TypeError, ValueError):
        return 0
