"""Puts dead letters back into the buffer: unchanged, or as edited by a person.

A replayed record keeps its id, and its body to the byte unless it was edited. It waits at the end
of the buffer: of an ordered kind, behind all buffered records of the same identity.
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
    """An edited record to send in place of a dead letter, as read from a file.

    ``position`` is its reader's (a line number), ``id`` is 32 hex digits, ``failed_at_ms``, or 0 if
    unknown, makes the dead letter quick to find.
    """

    position: int
    id: str
    record: Any
    failed_at_ms: int = 0


@dataclass(frozen=True, slots=True)
class NotReplayed:
    """A dead letter that was not replayed, and why; it stays a dead letter.

    ``position`` is the replacement's, 0 without one.
    """

    id: str
    errors: Mapping[str, Sequence[str]]
    position: int = 0


Report = Callable[[NotReplayed], object]


@dataclass(frozen=True, slots=True)
class _Move:
    """One entry of the stream; with an empty ``instead`` the record is put back unchanged."""

    kind: str
    entry: str
    hash: bytes
    instead: bytes = b""


class Replayer:
    """Puts dead letters of one destination back into its buffer.

    Several processes may replay the same ones at once: each is put back once, and counted by the
    process that did it.
    """

    def __init__(
        self, client: redis.Redis, destination: Destination, *, now: Callable[[], float] = time.time
    ) -> None:
        self.client = client
        self.destination = destination
        self._letters = DeadLetters(client, destination)
        self._schema = destination.account.schema()
        self._now = now

    def replay(
        self,
        selection: Selection,
        report: Report,
        *,
        without: AbstractSet[str] = frozenset(),
        advance: Callable[[int], object] = lambda _: None,
    ) -> int:
        """Put back the selected dead letters except the ids in ``without``; return how many.

        ``report`` gets each record of an ordered kind that the schema refuses today, because its
        identity, and so its place in the order, is unknown without the schema, and each of a kind
        that is no longer configured. ``advance`` gets the progress.
        """
        replayed = 0
        for chunk in selection.chunks(CHUNK):
            wanted = [letter for letter in chunk if letter.id not in without]
            replayed += self._put_back(self._unchanged(wanted, report))
            advance(len(chunk))
        return replayed

    def replay_edited(self, replacements: Sequence[Replacement], report: Report) -> int:
        """Put back replacements, in their order; return how many.

        ``report`` gets each that breaks a rule, and each that is not, or no longer, a dead letter.
        """
        replayed = 0
        for at in range(0, len(replacements), CHUNK):
            replayed += self._put_back(self._instead(replacements[at : at + CHUNK], report))
        return replayed

    def candidates(
        self, replacements: Sequence[Replacement], report: Report
    ) -> list[tuple[Replacement, str, bytes]]:
        """Return what `replay_edited` would put back, with kind and body; move nothing."""
        valid = self._valid(replacements, report)
        return [(each, prepared.kind, prepared.body) for each, _, prepared in valid]

    def _unchanged(self, letters: Iterable[DeadLetter], report: Report) -> Iterator[_Move]:
        for letter in letters:
            order_hash = b""
            try:
                self._check_kind(letter)
                if self.destination.kinds[letter.kind].ordered:
                    order_hash = identity_hash(self._prepare(letter, letter.record).identity)
            except InvalidRecord as error:
                report(NotReplayed(letter.id, error.errors))
            else:
                yield _Move(letter.kind, letter.entry, order_hash)

    def _check_kind(self, letter: DeadLetter) -> None:
        if not self.destination.kinds[letter.kind].batch_records:
            rule = f"is not configured for {letter.destination}, so it would not be delivered"
            raise InvalidRecord({"kind": [rule]})

    def _instead(self, replacements: Sequence[Replacement], report: Report) -> Iterator[_Move]:
        timezone = self.destination.timezone
        for _, letter, prepared in self._valid(replacements, report):
            ordered = self.destination.kinds[letter.kind].ordered
            order_hash = identity_hash(prepared.identity) if ordered else b""
            unedited = prepared.body is letter.body
            instead = b"" if unedited else pack_prepared(letter.id, prepared, timezone)
            yield _Move(letter.kind, letter.entry, order_hash, instead)

    def _valid(
        self, replacements: Sequence[Replacement], report: Report
    ) -> Iterator[tuple[Replacement, DeadLetter, Prepared]]:
        """Yield the valid ones, each with its dead letter and what to send; report the others."""
        found = self._find(replacements)
        for each in replacements:
            letter = found.get(each.id)
            try:
                if letter is None:
                    raise InvalidRecord({"id": [f"not a dead letter of {self.destination.name}"]})
                prepared = self._prepare(letter, each.record)
            except InvalidRecord as error:
                report(NotReplayed(each.id, error.errors, each.position))
                continue
            # An unedited record keeps its bytes; parsing and serialising it might change them.
            if orjson.dumps(each.record) == orjson.dumps(letter.record):
                prepared = prepared._replace(body=letter.body)
            yield each, letter, prepared

    def _prepare(self, letter: DeadLetter, record: Any) -> Prepared:
        self._check_kind(letter)
        prepared = self._schema.prepare(record, now_s=int(self._now()))
        if prepared.kind != letter.kind:
            raise InvalidRecord({"type": [f"must stay {letter.kind}, as it was accepted"]})
        return prepared

    def _find(self, replacements: Sequence[Replacement]) -> dict[str, DeadLetter]:
        """Return dead letters by record id; those that failed together are read together."""
        wanted = {each.id for each in replacements}
        found: dict[str, DeadLetter] = {}
        for failed_ms in sorted({each.failed_at_ms for each in replacements if each.failed_at_ms}):
            for kind in self.destination.kinds:
                page = self._letters.page(kind, f"{failed_ms}", f"{failed_ms}")
                found.update((letter.id, letter) for letter in page if letter.id in wanted)
        for missing in wanted - found.keys():
            if letter := self._letters.find(missing):
                found[missing] = letter
        return found

    def _put_back(self, moves: Iterable[_Move]) -> int:
        by_kind: dict[str, list[_Move]] = {}
        for move in moves:
            by_kind.setdefault(move.kind, []).append(move)
        base, replayed = keys.base(self.destination.name), 0
        for kind, alike in by_kind.items():
            hashes = b"".join(move.hash for move in alike)
            arguments = [part for move in alike for part in (move.entry, move.instead)]
            partitions = self.destination.kinds[kind].partitions
            run = script("replay").run
            replayed += run(self.client, base, kind, partitions, hashes, *arguments)
        return replayed


def parse_replacement(position: int, line: Any) -> tuple[str | None, Replacement]:
    """Parse a line of `dlq export` into the destination that it names, and the replacement.

    InvalidRecord, by the line's fields, if malformed. Only ``id`` and ``record`` are required.
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
    failed_at_ms = max(0, epoch_ms(line.get("failed_at")))
    return destination, Replacement(position, record_id, line["record"], failed_at_ms)
