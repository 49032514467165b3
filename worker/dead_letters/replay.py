"""Dead letters on their way back into the buffer: as they are, or mended by a person.

A replayed record keeps its id, and its body to the byte unless it was mended. It waits at the end
of the line: of an ordered kind, behind everything of the same identity that is buffered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
import redis

from ..buffer import keys
from ..buffer.accept import identity_hash
from ..buffer.records import pack_prepared
from ..buffer.scripts import script
from ..errors import InvalidRecord
from ..settings.destination import Destination
from ..vendors.protocol import Prepared
from .letters import DeadLetter, DeadLetters, Selection, epoch_ms

CHUNK = 500  # one call of `replay` holds Redis for about a millisecond


@dataclass(frozen=True, slots=True)
class Replacement:
    """A record to send instead of the one that died, as read from a file.

    ``position`` is whatever its reader finds it by, ``id`` 32 hex digits, ``failed_at_ms`` when it
    died, which makes it quick to find; 0 when that is not known.
    """

    position: int
    id: str
    record: Any
    failed_at_ms: int = 0


@dataclass(frozen=True, slots=True)
class NotReplayed:
    """A dead letter that was not replayed, and why: it stays where it is.

    ``position`` is that of the mended record, 0 when there was none.
    """

    id: str
    errors: Mapping[str, Sequence[str]]
    position: int = 0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A mended record that keeps the rules, as it would be sent; ``kind`` is what it died as."""

    position: int
    id: str
    kind: str
    body: bytes


Tell = Callable[[NotReplayed], object]


@dataclass(frozen=True, slots=True)
class _Move:
    """One entry of the stream; an empty ``instead`` puts the record back as it is."""

    kind: str
    entry: str
    hash: bytes
    instead: bytes = b""


class Replayer:
    """Puts dead letters of one destination back into its buffer.

    Several processes may replay the same ones at once: each is put back once, and counted by the
    one that did it.
    """

    def __init__(
        self,
        client: redis.Redis,
        destination: Destination,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.client = client
        self.destination = destination
        self._letters = DeadLetters(client, destination)
        self._schema = destination.account.schema()
        self._now = now

    def replay(
        self,
        selection: Selection,
        tell: Tell,
        *,
        without: AbstractSet[str] = frozenset(),
        advance: Callable[[int], object] = lambda _: None,
    ) -> int:
        """Put back the selected ones but those whose id is in ``without``; returns how many.

        ``tell`` hears of each record of an ordered kind that the schema refuses today: without the
        schema nobody knows whose it is, so its place in the order; and of each whose kind is not
        configured any more, for nobody would deliver it. ``advance`` hears of progress.
        """
        replayed = 0
        for chunk in selection.chunks(CHUNK):
            wanted = [letter for letter in chunk if letter.id not in without]
            replayed += self._put_back(self._as_they_are(wanted, tell))
            advance(len(chunk))
        return replayed

    def replay_edited(self, replacements: Sequence[Replacement], tell: Tell) -> int:
        """Put back these records instead of those that died, in their order; returns how many.

        Each is held against the schema first; ``tell`` hears of each that breaks a rule, and of
        each whose record is no dead letter (any more).
        """
        replayed = 0
        for at in range(0, len(replacements), CHUNK):
            replayed += self._put_back(self._instead(replacements[at : at + CHUNK], tell))
        return replayed

    def candidates(self, replacements: Sequence[Replacement], tell: Tell) -> list[Candidate]:
        """What `replay_edited` would put back, and nothing moves; ``tell`` hears what it would."""
        found: list[Candidate] = []
        for at in range(0, len(replacements), CHUNK):
            for each, letter, prepared in self._valid(replacements[at : at + CHUNK], tell):
                body = letter.body if _untouched(each, letter) else prepared.body
                found.append(Candidate(each.position, each.id, letter.kind, body))
        return found

    def _as_they_are(self, letters: Iterable[DeadLetter], tell: Tell) -> Iterator[_Move]:
        for letter in letters:
            try:
                belongs = self._belongs(letter)
            except InvalidRecord as error:
                tell(NotReplayed(letter.id, error.errors))
            else:
                yield _Move(letter.kind, letter.entry, belongs)

    def _belongs(self, letter: DeadLetter) -> bytes:
        """The hash that its identity is ordered by; empty where no order is kept."""
        self._refuse_left_out(letter)
        if not self.destination.kinds[letter.kind].ordered:
            return b""
        return identity_hash(self._prepare(letter, letter.record).identity)

    def _refuse_left_out(self, letter: DeadLetter) -> None:
        if not self.destination.kinds[letter.kind].batch_records:
            rule = f"is not configured for {letter.destination}: nobody would deliver it"
            raise InvalidRecord({"kind": [rule]})

    def _instead(self, replacements: Sequence[Replacement], tell: Tell) -> Iterator[_Move]:
        for each, letter, prepared in self._valid(replacements, tell):
            ordered = self.destination.kinds[letter.kind].ordered
            belongs = identity_hash(prepared.identity) if ordered else b""
            # An untouched record goes back to the byte: parsing and writing it again might not.
            untouched = _untouched(each, letter)
            instead = (
                b"" if untouched else pack_prepared(letter.id, prepared, self.destination.timezone)
            )
            yield _Move(letter.kind, letter.entry, belongs, instead)

    def _valid(
        self, replacements: Sequence[Replacement], tell: Tell
    ) -> Iterator[tuple[Replacement, DeadLetter, Prepared]]:
        """Those that keep the rules, and what died of them."""
        found = self._find(replacements)
        for each in replacements:
            letter = found.get(each.id)
            if letter is None:
                errors = {"id": [f"is no dead letter of {self.destination.name}"]}
                tell(NotReplayed(each.id, errors, each.position))
                continue
            try:
                prepared = self._prepare(letter, each.record)
            except InvalidRecord as error:
                tell(NotReplayed(each.id, error.errors, each.position))
            else:
                yield each, letter, prepared

    def _prepare(self, letter: DeadLetter, record: Any) -> Prepared:
        self._refuse_left_out(letter)
        prepared = self._schema.prepare(record, now_s=int(self._now()))
        if prepared.kind != letter.kind:
            raise InvalidRecord({"type": [f"must stay {letter.kind}, as it was accepted"]})
        return prepared

    def _find(self, replacements: Sequence[Replacement]) -> dict[str, DeadLetter]:
        """The dead letters by their records' ids; those that died together are read together."""
        wanted = {each.id for each in replacements}
        found: dict[str, DeadLetter] = {}
        for died in sorted({each.failed_at_ms for each in replacements if each.failed_at_ms}):
            for kind in self.destination.kinds:
                page = self._letters.page(kind, f"{died}", f"{died}")
                found.update((letter.id, letter) for letter in page if letter.id in wanted)
        for missing in wanted - found.keys():
            if letter := self._letters.find(missing):
                found[missing] = letter
        return found

    def _put_back(self, moves: Iterable[_Move]) -> int:
        by_kind: dict[str, list[_Move]] = {}
        for move in moves:
            by_kind.setdefault(move.kind, []).append(move)
        return sum(self._run(kind, each) for kind, each in by_kind.items())

    def _run(self, kind: str, moves: Sequence[_Move]) -> int:
        arguments: list[Any] = [kind, self.destination.kinds[kind].partitions]
        arguments.append(b"".join(move.hash for move in moves))
        for move in moves:
            arguments += [move.entry, move.instead]
        base = keys.base(self.destination.name)
        replayed: int = script("replay").run(self.client, base, *arguments)
        return replayed


def _untouched(each: Replacement, letter: DeadLetter) -> bool:
    return orjson.dumps(each.record) == orjson.dumps(letter.record)


def parse_replacement(position: int, line: Any) -> tuple[str | None, Replacement]:
    """A line as `dlq export` prints it: the destination it names, and the record in it.

    InvalidRecord, by the line's fields, when it is none. Only ``id`` and ``record`` must be there.
    """
    if not isinstance(line, dict):
        raise InvalidRecord({"line": ["must be an object, as `dlq export` prints it"]})
    try:
        record_id = UUID(line["id"]).hex
    except (KeyError, ValueError, AttributeError, TypeError):
        raise InvalidRecord({"id": ["must be a record's id"]}) from None
    if "record" not in line:
        raise InvalidRecord({"record": ["is missing"]})
    destination = line.get("destination")
    if destination is not None and not isinstance(destination, str):
        raise InvalidRecord({"destination": ["must be a destination's name"]})
    died = max(0, epoch_ms(line.get("failed_at")))
    return destination, Replacement(position, record_id, line["record"], died)
