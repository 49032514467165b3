"""Where records are made ready for the buffer: all of a producer but the socket."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import uuid_utils

from ..buffer.records import pack_prepared
from ..errors import BufferFull, BufferUnavailable, InvalidRecord
from ..settings.destination import Destination
from ..settings.settings import Settings
from ..vendors.protocol import Prepared, Schema

# One call of `accept` holds Redis for about a millisecond per thousand records.
MOST_PER_CALL = 1000


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that was not accepted: its position in the call, from 0, and why."""

    position: int
    error: InvalidRecord


@dataclass(frozen=True, slots=True)
class SendResult:
    """What `send_many` did: the ids of the accepted records in order, and the rejected ones."""

    ids: Sequence[str] = ()
    rejections: Sequence[Rejected] = ()

    @property
    def accepted(self) -> int:
        """The number of records that are in the buffer now."""
        return len(self.ids)

    @property
    def rejected(self) -> int:
        """The number of records that broke a rule; nothing else happened to them."""
        return len(self.rejections)


@dataclass(slots=True)
class EnqueueBatch:
    """The records of one kind that go in together."""

    kind: str
    ids: list[str] = field(default_factory=list)
    identities: list[bytes] = field(default_factory=list)
    stored: list[bytes] = field(default_factory=list)


class RecordEncoder:
    """What both producers share: everything but the socket."""

    def __init__(self, settings: Settings, now: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._now = now
        self._schemas: dict[str, Schema] = {}

    def destination(self, name: str | None) -> Destination:
        return self._settings.destination(name)

    def destinations(self, *names: str) -> list[Destination]:
        """The destinations of these names, each once."""
        return [self._settings.destination(name) for name in dict.fromkeys(names)]

    def schema(self, destination: Destination) -> Schema:
        schema = self._schemas.get(destination.name)
        if schema is None:
            schema = self._schemas[destination.name] = destination.account.schema()
        return schema

    def prepare(self, destination: Destination, record: Mapping[str, Any]) -> Prepared:
        prepared = self.schema(destination).prepare(record, now_s=self._now())
        if prepared.kind not in destination.kinds:
            known = ", ".join(destination.kinds)
            raise InvalidRecord({"type": [f"{destination.name} takes {known}"]})
        return prepared

    def event(
        self,
        destination: Destination,
        name: str,
        properties: Mapping[str, Any] | None,
        ids: Mapping[str, str],
        ts: int | datetime | None,
    ) -> EnqueueBatch:
        """The call that enqueues one event, put into the vendor's shape."""
        shape = self.schema(destination).event
        return self.single(destination, shape(name, properties or {}, ids=ids, ts=_seconds(ts)))

    def profile(
        self,
        destination: Destination,
        properties: Mapping[str, Any],
        ids: Mapping[str, str],
        ts: int | datetime | None,
    ) -> EnqueueBatch:
        """The call that enqueues one profile update, put into the vendor's shape."""
        shape = self.schema(destination).profile
        return self.single(destination, shape(properties, ids=ids, ts=_seconds(ts)))

    def single(self, destination: Destination, record: Mapping[str, Any]) -> EnqueueBatch:
        """The call that enqueues one record."""
        prepared = self.prepare(destination, record)
        call = EnqueueBatch(prepared.kind)
        add(call, prepared, destination.timezone)
        return call

    def calls(
        self,
        destination: Destination,
        records: Iterable[Mapping[str, Any]],
        rejections: list[Rejected],
    ) -> Iterator[EnqueueBatch]:
        """Group valid records into calls, kind by kind, in order; note the others as refusals."""
        open_calls: dict[str, EnqueueBatch] = {}
        for position, record in enumerate(records):
            try:
                prepared = self.prepare(destination, record)
            except InvalidRecord as error:
                rejections.append(Rejected(position, error))
                continue
            call = open_calls.get(prepared.kind)
            if call is None:
                call = open_calls[prepared.kind] = EnqueueBatch(prepared.kind)
            add(call, prepared, destination.timezone)
            if len(call.stored) >= MOST_PER_CALL:
                yield open_calls.pop(prepared.kind)
        yield from open_calls.values()


def add(call: EnqueueBatch, prepared: Prepared, timezone: ZoneInfo) -> str:
    """Give a prepared record its id and its header, and put it into the call; returns the id."""
    record_id = uuid_utils.uuid7()
    call.ids.append(str(record_id))
    call.identities.append(prepared.identity)
    call.stored.append(pack_prepared(record_id.hex, prepared, timezone))
    return call.ids[-1]


def named_ids(
    identity: str | None, fbid: str | None, gpid: str | None, object_id: str | None
) -> dict[str, str]:
    """The ids that were given, by the keywords they were given under."""
    named = {"identity": identity, "fbid": fbid, "gpid": gpid, "object_id": object_id}
    return {name: value for name, value in named.items() if value is not None}


def _seconds(ts: int | datetime | None) -> int | None:
    """Epoch seconds of a time, however it is given; a naive datetime is local time."""
    return int(ts.timestamp()) if isinstance(ts, datetime) else ts


@contextmanager
def accepted_ids() -> Iterator[list[str]]:
    """A list for the ids of what Redis has; a BufferError that ends the block takes it along."""
    ids: list[str] = []
    try:
        yield ids
    except (BufferFull, BufferUnavailable) as error:
        error.accepted = ids
        raise
