"""The way in: a record is checked, stamped, serialised and put into the buffer, in one round trip.

Nothing is kept in this process: when a call returns, the record is in Redis, and when it raises,
the error says whether it may be. There is no thread and no queue that a fork or an exit could lose.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NoReturn, Self
from zoneinfo import ZoneInfo

import redis
import uuid_utils
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, RedisError

from . import keys
from .address import redis_url
from .buffer import accept_arguments, accepted
from .connections import async_producer_client, producer_client
from .errors import BufferFull, BufferUnavailable, InvalidRecord
from .records import Prepared, day_of, pack
from .schemas.vendors import Schema, schema_for
from .scripts import script
from .settings import Destination, Settings

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
    refusals: Sequence[Rejected] = ()

    @property
    def accepted(self) -> int:
        """The number of records that are in the buffer now."""
        return len(self.ids)

    @property
    def rejected(self) -> int:
        """The number of records that broke a rule; nothing else happened to them."""
        return len(self.refusals)


@dataclass(slots=True)
class _Call:
    """The records of one kind that go in together."""

    kind: str
    ids: list[str] = field(default_factory=list)
    identities: list[bytes] = field(default_factory=list)
    stored: list[bytes] = field(default_factory=list)


class _Desk:
    """What both producers share: everything but the socket."""

    def __init__(self, settings: Settings, now: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._now = now
        self._schemas: dict[str, Schema] = {}

    def destination(self, name: str | None) -> Destination:
        return self._settings.destination(name)

    def schema(self, destination: Destination) -> Schema:
        schema = self._schemas.get(destination.name)
        if schema is None:
            schema = self._schemas[destination.name] = schema_for(destination)
        return schema

    def prepare(self, destination: Destination, record: Mapping[str, Any]) -> Prepared:
        prepared = self.schema(destination).prepare(record, now_s=int(self._now()))
        if prepared.kind not in destination.kinds:
            known = ", ".join(destination.kinds)
            raise InvalidRecord({"type": [f"{destination.name} takes {known}"]})
        return prepared

    def calls(
        self,
        destination: Destination,
        records: Iterable[Mapping[str, Any]],
        refusals: list[Rejected],
    ) -> Iterator[_Call]:
        """Group valid records into calls, kind by kind, in order; note the others as refusals."""
        open_calls: dict[str, _Call] = {}
        for position, record in enumerate(records):
            try:
                prepared = self.prepare(destination, record)
            except InvalidRecord as error:
                refusals.append(Rejected(position, error))
                continue
            call = open_calls.get(prepared.kind)
            if call is None:
                call = open_calls[prepared.kind] = _Call(prepared.kind)
            add(call, prepared, destination.timezone)
            if len(call.stored) >= MOST_PER_CALL:
                yield open_calls.pop(prepared.kind)
        yield from open_calls.values()


def add(call: _Call, prepared: Prepared, timezone: ZoneInfo) -> str:
    """Give a prepared record its id and its header, and put it into the call; returns the id."""
    record_id = uuid_utils.uuid7()
    call.ids.append(str(record_id))
    call.identities.append(prepared.identity)
    day = day_of(prepared.ts, timezone) if prepared.name else ""
    call.stored.append(pack(record_id.hex, day, prepared.name, prepared.body))
    return call.ids[-1]


def _identity(
    identity: str | None, fbid: str | None, gpid: str | None, object_id: str | None
) -> dict[str, str]:
    named = {"identity": identity, "fbid": fbid, "gpid": gpid, "object_id": object_id}
    return {name: value for name, value in named.items() if value is not None}


def _raise(error: RedisError, destination: Destination) -> NoReturn:
    """Tell a failure of Redis in the producer's words."""
    if isinstance(error, OutOfMemoryError):
        raise BufferFull(f"{destination.name}: Redis is out of memory") from error
    connected = " connecting to " not in str(error)
    lost = isinstance(error, RedisConnectionError | redis.TimeoutError) and connected
    raise BufferUnavailable(
        f"{destination.name}: Redis did not take the record ({type(error).__name__})", sent=lost
    ) from error


class Producer:
    """Puts records into the buffer; safe to share between threads, and across a fork.

    Every call is one round trip, and waits a quarter of a second at most. Raises InvalidRecord,
    BufferFull or BufferUnavailable; then nothing of the record was enqueued, unless the error's
    ``sent`` says that the answer was lost.
    """

    def __init__(self, settings: Settings, client: redis.Redis) -> None:
        self._desk = _Desk(settings)
        self._client = client

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """A producer for REDIS_URL and the configured destinations; no vendor secret is needed."""
        settings = Settings.from_env(environ)
        return cls(settings, producer_client(redis_url(settings)))

    def event(
        self,
        name: str,
        properties: Mapping[str, Any] | None = None,
        *,
        identity: str | None = None,
        fbid: str | None = None,
        gpid: str | None = None,
        object_id: str | None = None,
        ts: int | datetime | None = None,
        destination: str | None = None,
    ) -> str:
        """Enqueue one event; ``ts`` in epoch seconds, now when absent. Returns the record's id."""
        target = self._desk.destination(destination)
        ids = _identity(identity, fbid, gpid, object_id)
        record = self._desk.schema(target).event(name, properties or {}, ids=ids, ts=_seconds(ts))
        return self._send(target, record)

    def profile(
        self,
        properties: Mapping[str, Any],
        *,
        identity: str | None = None,
        fbid: str | None = None,
        gpid: str | None = None,
        object_id: str | None = None,
        ts: int | datetime | None = None,
        destination: str | None = None,
    ) -> str:
        """Enqueue one profile update; those of one identity stay in order. Returns the id."""
        target = self._desk.destination(destination)
        ids = _identity(identity, fbid, gpid, object_id)
        record = self._desk.schema(target).profile(properties, ids=ids, ts=_seconds(ts))
        return self._send(target, record)

    def send(self, record: Mapping[str, Any], *, destination: str | None = None) -> str:
        """Enqueue one record in the vendor's own shape. Returns the record's id."""
        return self._send(self._desk.destination(destination), record)

    def send_many(
        self, records: Iterable[Mapping[str, Any]], *, destination: str | None = None
    ) -> SendResult:
        """Enqueue records in the vendor's own shape, a thousand a round trip.

        Records that break a rule are told in the result and cost the others nothing. A BufferError
        ends the call; its ``accepted`` holds the ids of the records that were enqueued before it.
        """
        target = self._desk.destination(destination)
        ids: list[str] = []
        refusals: list[Rejected] = []
        try:
            for call in self._desk.calls(target, records, refusals):
                self._accept(target, call)
                ids += call.ids
        except (BufferFull, BufferUnavailable) as error:
            error.accepted = ids
            raise
        return SendResult(ids, refusals)

    def _send(self, destination: Destination, record: Mapping[str, Any]) -> str:
        call = _single(self._desk, destination, record)
        self._accept(destination, call)
        return call.ids[0]

    def _accept(self, destination: Destination, call: _Call) -> None:
        args = accept_arguments(destination, call.kind, call.identities, call.stored)
        try:
            answer = script("accept").run(self._client, keys.base(destination.name), *args)
        except RedisError as error:
            _raise(error, destination)
        accepted(destination, answer)

    def close(self) -> None:
        """Close the connections; nothing is lost by not calling it."""
        self._client.close()


class AsyncProducer:
    """The same for asyncio; see Producer. One for each event loop."""

    def __init__(self, settings: Settings, client: redis.asyncio.Redis) -> None:
        self._desk = _Desk(settings)
        self._client = client

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """A producer for REDIS_URL and the configured destinations; no vendor secret is needed."""
        settings = Settings.from_env(environ)
        return cls(settings, async_producer_client(redis_url(settings)))

    async def event(
        self,
        name: str,
        properties: Mapping[str, Any] | None = None,
        *,
        identity: str | None = None,
        fbid: str | None = None,
        gpid: str | None = None,
        object_id: str | None = None,
        ts: int | datetime | None = None,
        destination: str | None = None,
    ) -> str:
        """Enqueue one event; see Producer.event."""
        target = self._desk.destination(destination)
        ids = _identity(identity, fbid, gpid, object_id)
        record = self._desk.schema(target).event(name, properties or {}, ids=ids, ts=_seconds(ts))
        return await self._send(target, record)

    async def profile(
        self,
        properties: Mapping[str, Any],
        *,
        identity: str | None = None,
        fbid: str | None = None,
        gpid: str | None = None,
        object_id: str | None = None,
        ts: int | datetime | None = None,
        destination: str | None = None,
    ) -> str:
        """Enqueue one profile update; see Producer.profile."""
        target = self._desk.destination(destination)
        ids = _identity(identity, fbid, gpid, object_id)
        record = self._desk.schema(target).profile(properties, ids=ids, ts=_seconds(ts))
        return await self._send(target, record)

    async def send(self, record: Mapping[str, Any], *, destination: str | None = None) -> str:
        """Enqueue one record in the vendor's own shape; see Producer.send."""
        return await self._send(self._desk.destination(destination), record)

    async def send_many(
        self, records: Iterable[Mapping[str, Any]], *, destination: str | None = None
    ) -> SendResult:
        """Enqueue records in the vendor's own shape; see Producer.send_many."""
        target = self._desk.destination(destination)
        ids: list[str] = []
        refusals: list[Rejected] = []
        try:
            for call in self._desk.calls(target, records, refusals):
                await self._accept(target, call)
                ids += call.ids
        except (BufferFull, BufferUnavailable) as error:
            error.accepted = ids
            raise
        return SendResult(ids, refusals)

    async def _send(self, destination: Destination, record: Mapping[str, Any]) -> str:
        call = _single(self._desk, destination, record)
        await self._accept(destination, call)
        return call.ids[0]

    async def _accept(self, destination: Destination, call: _Call) -> None:
        args = accept_arguments(destination, call.kind, call.identities, call.stored)
        try:
            answer = await script("accept").run_async(
                self._client, keys.base(destination.name), *args
            )
        except RedisError as error:
            _raise(error, destination)
        accepted(destination, answer)

    async def close(self) -> None:
        """Close the connections; nothing is lost by not calling it."""
        await self._client.aclose()


def _single(desk: _Desk, destination: Destination, record: Mapping[str, Any]) -> _Call:
    prepared = desk.prepare(destination, record)
    call = _Call(prepared.kind)
    add(call, prepared, destination.timezone)
    return call


def _seconds(ts: int | datetime | None) -> int | None:
    return int(ts.timestamp()) if isinstance(ts, datetime) else ts
