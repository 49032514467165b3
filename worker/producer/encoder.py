"""Validate records and encode them for the buffer: all of a producer except the connection."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import uuid_utils

from ..buffer.records import pack_prepared
from ..errors import BufferFull, BufferUnavailable, InvalidRecord
from ..settings.destination import Destination
from ..settings.settings import Settings
from ..vendors.protocol import Prepared, Schema

# One call of `accept_requests` holds Redis for about a millisecond per thousand records.
MAX_RECORDS_PER_CALL = 1000

T = TypeVar("T")
Ids = Mapping[str, str]
Properties = Mapping[str, Any]
Time = int | datetime | None


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that was not accepted: its position in the call, from 0, and why."""

    position: int
    error: InvalidRecord


@dataclass(frozen=True, slots=True)
class SendResult:
    """The ids of the records that are in the buffer now, in order, and the rejected records."""

    ids: Sequence[str] = ()
    refusals: Sequence[Rejected] = ()

    @property
    def accepted(self) -> int:
        return len(self.ids)

    @property
    def rejected(self) -> int:
        return len(self.refusals)


class EnqueueBatch:
    """Encoded records of one destination and kind that are enqueued together."""

    __slots__ = ("destination", "identities", "ids", "kind", "stored")

    def __init__(self, destination: Destination, kind: str) -> None:
        self.destination = destination
        self.kind = kind
        self.ids: list[str] = []
        self.identities: list[bytes] = []
        self.stored: list[bytes] = []

    def add(self, prepared: Prepared) -> None:
        """Append a prepared record with an id and a header of its own."""
        record_id = uuid_utils.uuid7()
        self.ids.append(str(record_id))
        self.identities.append(prepared.identity)
        self.stored.append(pack_prepared(record_id.hex, prepared, self.destination.timezone))


def group_records(
    destination: Destination,
    records: Iterable[T],
    prepare: Callable[[T], Prepared | None],
    rejections: list[Rejected],
    max_records: int | None = None,
) -> Iterator[EnqueueBatch | None]:
    """Validate records and group them by kind, in order.

    Yields a batch when it holds ``max_records``, the others at the end, and None after every record
    so that the caller can pause. A record for which ``prepare`` raises InvalidRecord is added to
    ``rejections``; one for which it returns None is skipped.
    """
    batches: dict[str, EnqueueBatch] = {}
    for position, record in enumerate(records):
        try:
            prepared = prepare(record)
        except InvalidRecord as error:
            rejections.append(Rejected(position, error))
        else:
            if prepared is not None:
                batch = batches.get(prepared.kind)
                if batch is None:
                    batch = batches[prepared.kind] = EnqueueBatch(destination, prepared.kind)
                batch.add(prepared)
                if len(batch.ids) == max_records:
                    yield batches.pop(batch.kind)
        yield None
    yield from batches.values()


class RecordEncoder:
    """Encodes records for the configured destinations; shared by both producers."""

    def __init__(self, settings: Settings, now: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._now = now
        self._schemas: dict[str, Schema] = {}

    def names(self, *names: str) -> list[str]:
        """Return the names without repetitions; UnknownDestination for one not configured."""
        return [self._settings.destination(name).name for name in dict.fromkeys(names)]

    def prepare(self, destination: Destination, record: Mapping[str, Any]) -> Prepared:
        """Validate and serialize a record in the vendor's shape; raises InvalidRecord."""
        schema = self._schemas.get(destination.name) or self.load_schema(destination)
        prepared = schema.prepare(record, now_s=self._now())
        if prepared.kind not in destination.kinds:
            rule = f"{destination.name} takes {', '.join(destination.kinds)}"
            raise InvalidRecord({"type": [rule]})
        return prepared

    def event(
        self, destination: str | None, name: str, properties: Properties | None, ids: Ids, ts: Time
    ) -> EnqueueBatch:
        target = self._settings.destination(destination)
        schema = self._schemas.get(target.name) or self.load_schema(target)
        event = schema.event(name, properties or {}, ids=ids, ts=_seconds(ts))
        return self._single(target, event)

    def profile(
        self, destination: str | None, properties: Properties, ids: Ids, ts: Time
    ) -> EnqueueBatch:
        target = self._settings.destination(destination)
        schema = self._schemas.get(target.name) or self.load_schema(target)
        return self._single(target, schema.profile(properties, ids=ids, ts=_seconds(ts)))

    def record(self, destination: str | None, record: Mapping[str, Any]) -> EnqueueBatch:
        """Encode one record that is in the vendor's shape already."""
        return self._single(self._settings.destination(destination), record)

    def batches(
        self, destination: str | None, records: Iterable[Properties], rejections: list[Rejected]
    ) -> Iterator[EnqueueBatch | None]:
        """Encode records in the vendor's shape, in batches for one call each; see group_records."""
        target = self._settings.destination(destination)
        prepare = partial(self.prepare, target)
        return group_records(target, records, prepare, rejections, MAX_RECORDS_PER_CALL)

    def load_schema(self, destination: Destination) -> Schema:
        """Return the destination's schema; the first of a vendor takes 0.2 s to import."""
        return self._schemas.setdefault(destination.name, destination.account.schema())

    def _single(self, destination: Destination, record: Mapping[str, Any]) -> EnqueueBatch:
        prepared = self.prepare(destination, record)
        batch = EnqueueBatch(destination, prepared.kind)
        batch.add(prepared)
        return batch


def named_ids(
    identity: str | None, fbid: str | None, gpid: str | None, object_id: str | None
) -> dict[str, str]:
    """Return the ids that were given, by keyword."""
    named = {"identity": identity, "fbid": fbid, "gpid": gpid, "object_id": object_id}
    return {name: value for name, value in named.items() if value is not None}


def _seconds(ts: Time) -> int | None:
    """Convert a time to epoch seconds; a naive datetime is local time."""
    return int(ts.timestamp()) if isinstance(ts, datetime) else ts


@contextmanager
def accepted_ids() -> Iterator[list[str]]:
    """Collect the ids that Redis accepted; a BufferError that ends the block carries them."""
    ids: list[str] = []
    try:
        yield ids
    except (BufferFull, BufferUnavailable) as error:
        error.accepted = ids
        raise
