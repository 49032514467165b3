"""One record to several destinations: checked for all of them before the first takes it.

Each destination has a place of its own in Redis, so what happens after the check happens to one
destination after the other: a BufferError then carries in ``accepted`` the ids of the records that
were enqueued, for the destinations in the order they were named. To repeat the call for those would
double the record there; the others can be given it by a call of their own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from ..errors import InvalidRecord
from ..settings.destination import Destination
from .encoder import EnqueueBatch, RecordEncoder, accepted_ids, named_ids

Record = Mapping[str, Any]
Calls = list[tuple[Destination, EnqueueBatch]]


class _Checked:
    """What both fan-outs share: everything but the socket. Each method makes all the calls."""

    def __init__(self, encoder: RecordEncoder, destinations: Sequence[Destination]) -> None:
        self._encoder = encoder
        self._destinations = destinations

    def event(self, *said: Any) -> Calls:
        return self._calls(lambda to: self._encoder.event(to, *said))

    def profile(self, *said: Any) -> Calls:
        return self._calls(lambda to: self._encoder.profile(to, *said))

    def record(self, record: Record) -> Calls:
        return self._calls(lambda to: self._encoder.single(to, record))

    def _calls(self, call_for: Callable[[Destination], EnqueueBatch]) -> Calls:
        """A call for each destination; InvalidRecord with the errors of all that refuse."""
        calls: Calls = []
        errors: dict[str, list[str]] = {}
        code = None
        for to in self._destinations:
            try:
                calls.append((to, call_for(to)))
            except InvalidRecord as error:
                errors |= {f"{to.name}: {path}": broken for path, broken in error.errors.items()}
                code = error.code if code is None else code
        if errors:
            raise InvalidRecord(errors, code)
        return calls


def _by_name(calls: Calls) -> dict[str, str]:
    return {to.name: call.ids[0] for to, call in calls}


class Fanout:
    """Puts each record into several destinations; made by `Producer.to`, as safe to share.

    Each call is one round trip a destination. Raises InvalidRecord when one of them refuses the
    record (its errors name the destination), and then nothing was enqueued anywhere; BufferFull
    or BufferUnavailable as `Producer` does, see above.
    """

    def __init__(
        self,
        encoder: RecordEncoder,
        destinations: Sequence[Destination],
        accept: Callable[[Destination, EnqueueBatch], None],
    ) -> None:
        self._checked = _Checked(encoder, destinations)
        self._accept = accept

    def event(
        self,
        name: str,
        properties: Record | None = None,
        *,
        identity: str | None = None,
        fbid: str | None = None,
        gpid: str | None = None,
        object_id: str | None = None,
        ts: int | datetime | None = None,
    ) -> dict[str, str]:
        """Enqueue one event; returns the record's id at each destination, by its name."""
        ids = named_ids(identity, fbid, gpid, object_id)
        return self._enqueue(self._checked.event(name, properties, ids, ts))

    def profile(
        self,
        properties: Record,
        *,
        identity: str | None = None,
        fbid: str | None = None,
        gpid: str | None = None,
        object_id: str | None = None,
        ts: int | datetime | None = None,
    ) -> dict[str, str]:
        """Enqueue one profile update; returns the record's id at each destination, by its name."""
        ids = named_ids(identity, fbid, gpid, object_id)
        return self._enqueue(self._checked.profile(properties, ids, ts))

    def send(self, record: Record) -> dict[str, str]:
        """Enqueue one record in the vendor's own shape, for several accounts of that vendor."""
        return self._enqueue(self._checked.record(record))

    def _enqueue(self, calls: Calls) -> dict[str, str]:
        with accepted_ids() as ids:
            for to, call in calls:
                self._accept(to, call)
                ids.extend(call.ids)
        return _by_name(calls)


class AsyncFanout:
    """The same for asyncio; made by `AsyncProducer.to`."""

    def __init__(
        self,
        encoder: RecordEncoder,
        destinations: Sequence[Destination],
        accept: Callable[[Destination, EnqueueBatch], Awaitable[None]],
    ) -> None:
        self._checked = _Checked(encoder, destinations)
        self._accept = accept

    async def event(
        self,
        name: str,
        properties: Record | None = None,
        *,
        identity: str | None = None,
        fbid: str | None = None,
        gpid: str | None = None,
        object_id: str | None = None,
        ts: int | datetime | None = None,
    ) -> dict[str, str]:
        """Enqueue one event; see Fanout.event."""
        ids = named_ids(identity, fbid, gpid, object_id)
        return await self._enqueue(self._checked.event(name, properties, ids, ts))

    async def profile(
        self,
        properties: Record,
        *,
        identity: str | None = None,
        fbid: str | None = None,
        gpid: str | None = None,
        object_id: str | None = None,
        ts: int | datetime | None = None,
    ) -> dict[str, str]:
        """Enqueue one profile update; see Fanout.profile."""
        ids = named_ids(identity, fbid, gpid, object_id)
        return await self._enqueue(self._checked.profile(properties, ids, ts))

    async def send(self, record: Record) -> dict[str, str]:
        """Enqueue one record in the vendor's own shape; see Fanout.send."""
        return await self._enqueue(self._checked.record(record))

    async def _enqueue(self, calls: Calls) -> dict[str, str]:
        with accepted_ids() as ids:
            for to, call in calls:
                await self._accept(to, call)
                ids.extend(call.ids)
        return _by_name(calls)
