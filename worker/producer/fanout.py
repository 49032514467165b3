"""Enqueue one record for several destinations, checked for all of them first."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

from ..errors import InvalidRecord
from .encoder import EnqueueBatch, RecordEncoder, accepted_ids, named_ids

Ids = dict[str, str]
Accept = Callable[[EnqueueBatch], Any]
Result = TypeVar("Result", Ids, Coroutine[Any, Any, Ids])


class _AnyFanout(ABC, Generic[Result]):
    """All of a fan-out except the calls to Redis."""

    def __init__(self, encoder: RecordEncoder, names: Sequence[str], accept: Accept) -> None:
        self._encoder = encoder
        self._names = names
        self._accept = accept

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
    ) -> Result:
        """Enqueue one event; returns the record's id at each destination, by its name."""
        ids = named_ids(identity, fbid, gpid, object_id)
        return self._enqueue(lambda to: self._encoder.event(to, name, properties, ids, ts))

    def profile(
        self,
        properties: Mapping[str, Any],
        *,
        identity: str | None = None,
        fbid: str | None = None,
        gpid: str | None = None,
        object_id: str | None = None,
        ts: int | datetime | None = None,
    ) -> Result:
        """Enqueue one profile update; returns the record's id at each destination, by its name."""
        ids = named_ids(identity, fbid, gpid, object_id)
        return self._enqueue(lambda to: self._encoder.profile(to, properties, ids, ts))

    def send(self, record: Mapping[str, Any]) -> Result:
        """Enqueue one record in the vendor's own shape, for several accounts of that vendor."""
        return self._enqueue(lambda to: self._encoder.record(to, record))

    @abstractmethod
    def _enqueue(self, encode: Callable[[str], EnqueueBatch]) -> Result:
        """Enqueue what ``encode`` makes of the record for each destination, in their order."""

    def _batches(self, encode: Callable[[str], EnqueueBatch]) -> dict[str, EnqueueBatch]:
        """Encode for each destination; InvalidRecord with the errors of all that reject it."""
        batches: dict[str, EnqueueBatch] = {}
        errors: dict[str, list[str]] = {}
        code = None
        for name in self._names:
            try:
                batches[name] = encode(name)
            except InvalidRecord as error:
                errors |= {f"{name}: {path}": broken for path, broken in error.errors.items()}
                code = error.code if code is None else code
        if errors:
            raise InvalidRecord(errors, code)
        return batches


class Fanout(_AnyFanout[Ids]):
    """Puts each record into several destinations; made by `Producer.to`, as safe to share.

    Each call is one round trip per destination. Raises InvalidRecord when one of them rejects the
    record (its errors name the destination), and then nothing was enqueued anywhere.

    Each destination has its own keys in Redis, so a BufferError may come between them: it carries
    in ``accepted`` the ids of the records that were enqueued, for the destinations in the order
    they were named. Retry only the remaining destinations; the others would get duplicates.
    """

    def _enqueue(self, encode: Callable[[str], EnqueueBatch]) -> Ids:
        batches = self._batches(encode)
        with accepted_ids() as ids:
            for batch in batches.values():
                self._accept(batch)
                ids.extend(batch.ids)
        return {name: batch.ids[0] for name, batch in batches.items()}


class AsyncFanout(_AnyFanout[Coroutine[Any, Any, Ids]]):
    """The same for asyncio; made by `AsyncProducer.to`."""

    async def _enqueue(self, encode: Callable[[str], EnqueueBatch]) -> Ids:
        batches = self._batches(encode)
        with accepted_ids() as ids:
            for batch in batches.values():
                await self._accept(batch)
                ids.extend(batch.ids)
        return {name: batch.ids[0] for name, batch in batches.items()}
