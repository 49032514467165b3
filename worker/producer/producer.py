"""Validate, serialize and enqueue records in one round trip.

Nothing is kept in this process: when a call returns, the record is in Redis, and when it raises,
the error says whether it may be. There is no thread and no queue that a fork or an exit could lose.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, NoReturn, Self

import redis
from redis.exceptions import RedisError

from ..buffer.accept import accept, accept_async
from ..buffer.scripts import is_out_of_memory
from ..connections import clients
from ..errors import BufferFull, BufferUnavailable
from ..settings.destination import Destination
from ..settings.settings import Settings
from .encoder import EnqueueBatch, RecordEncoder, Rejected, SendResult, accepted_ids, named_ids
from .fanout import AsyncFanout, Fanout

__all__ = ["AsyncProducer", "Producer", "Rejected", "SendResult"]

# Concurrent calls of an AsyncProducer, each on its own connection. Tasks are cheap, and there may
# be thousands, but Redis is no faster with more, and redis-py 8 lends no more than that.
MAX_CONCURRENT_CALLS = 100


def _raise(error: RedisError, destination: Destination) -> NoReturn:
    """Translate a Redis error into a producer exception."""
    if is_out_of_memory(error):
        raise BufferFull(f"{destination.name}: Redis is out of memory") from error
    text = f"{destination.name}: Redis did not accept the record ({type(error).__name__})"
    raise BufferUnavailable(text, sent=clients.answer_was_lost(error)) from error


class Producer:
    """Puts records into the buffer; safe to share between threads, and across a fork.

    Every call is one round trip, and waits at most a quarter of a second for each of its steps: one
    on an open connection, two when Redis does not know the script. A new connection adds TCP's
    handshake, and TLS, AUTH and SELECT where the address needs them; Sentinels and a Cluster's
    nodes are asked first. Resolving a host name takes as long as the system's resolver takes.

    Raises InvalidRecord, BufferFull or BufferUnavailable; then the record was not enqueued, unless
    the error's ``sent`` says that the response was lost.
    """

    def __init__(self, settings: Settings, client: redis.Redis) -> None:
        self._encoder = RecordEncoder(settings)
        self._client = client

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Make a producer from the environment, without vendor secrets; raises SettingsError."""
        settings = Settings.from_env(environ)
        return cls(settings, clients.producer_client(clients.redis_url(settings)))

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
        ids = named_ids(identity, fbid, gpid, object_id)
        return self._put(self._encoder.event(destination, name, properties, ids, ts))

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
        ids = named_ids(identity, fbid, gpid, object_id)
        return self._put(self._encoder.profile(destination, properties, ids, ts))

    def send(self, record: Mapping[str, Any], *, destination: str | None = None) -> str:
        """Enqueue one record in the vendor's own shape. Returns the record's id."""
        return self._put(self._encoder.record(destination, record))

    def send_many(
        self, records: Iterable[Mapping[str, Any]], *, destination: str | None = None
    ) -> SendResult:
        """Enqueue records in the vendor's own shape, a thousand a round trip.

        Records that break a rule are reported in the result and do not affect the others. A
        BufferError ends the call; its ``accepted`` holds the ids of the records enqueued before.
        """
        rejections: list[Rejected] = []
        batches = self._encoder.batches(destination, records, rejections)
        with accepted_ids() as ids:
            for batch in batches:
                if batch is not None:
                    self._accept(batch)
                    ids.extend(batch.ids)
        return SendResult(sorted(ids), rejections)

    def to(self, destination: str, *others: str) -> Fanout:
        """Return a producer for several destinations; UnknownDestination if one is not configured.

        For example `producer.to("clevertap", "bloomreach").event("Viewed", identity="42")`.
        """
        return Fanout(self._encoder, self._encoder.names(destination, *others), self._accept)

    def _put(self, batch: EnqueueBatch) -> str:
        self._accept(batch)
        return batch.ids[0]

    def _accept(self, batch: EnqueueBatch) -> None:
        try:
            accept(self._client, batch.destination, batch.kind, batch.identities, batch.stored)
        except RedisError as error:
            _raise(error, batch.destination)

    def close(self) -> None:
        """Close the connections; nothing is lost without it."""
        self._client.close()


class AsyncProducer:
    """The same methods as Producer has, for asyncio. One for each event loop.

    At most a hundred calls run at once. Further calls wait for their turn, a quarter of a second at
    most (``patience_s``), and then raise BufferUnavailable: nothing was sent.
    """

    def __init__(
        self,
        settings: Settings,
        client: redis.asyncio.Redis,
        *,
        patience_s: float = clients.PRODUCER_TIMEOUT_S,
    ) -> None:
        self._encoder = RecordEncoder(settings)
        self._client = client
        self._patience_s = patience_s
        # A Cluster's client has a pool for each node, and no bound of its own.
        pool = getattr(client, "connection_pool", None)
        most: int = getattr(pool, "max_connections", MAX_CONCURRENT_CALLS)
        self._turns = asyncio.Semaphore(min(MAX_CONCURRENT_CALLS, most))

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        settings = Settings.from_env(environ)
        return cls(settings, clients.async_producer_client(clients.redis_url(settings)))

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
        ids = named_ids(identity, fbid, gpid, object_id)
        return await self._put(self._encoder.event(destination, name, properties, ids, ts))

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
        ids = named_ids(identity, fbid, gpid, object_id)
        return await self._put(self._encoder.profile(destination, properties, ids, ts))

    async def send(self, record: Mapping[str, Any], *, destination: str | None = None) -> str:
        return await self._put(self._encoder.record(destination, record))

    async def send_many(
        self, records: Iterable[Mapping[str, Any]], *, destination: str | None = None
    ) -> SendResult:
        rejections: list[Rejected] = []
        batches = self._encoder.batches(destination, records, rejections)
        with accepted_ids() as ids:
            for batch in batches:
                if batch is not None:
                    await self._accept(batch)
                    ids.extend(batch.ids)
        return SendResult(sorted(ids), rejections)

    def to(self, destination: str, *others: str) -> AsyncFanout:
        return AsyncFanout(self._encoder, self._encoder.names(destination, *others), self._accept)

    async def _put(self, batch: EnqueueBatch) -> str:
        await self._accept(batch)
        return batch.ids[0]

    async def _accept(self, batch: EnqueueBatch) -> None:
        target = batch.destination
        try:
            async with asyncio.timeout(self._patience_s):
                await self._turns.acquire()
        except TimeoutError:
            text = f"{target.name}: too many calls wait for Redis"
            raise BufferUnavailable(text, sent=False) from None
        try:
            await accept_async(self._client, target, batch.kind, batch.identities, batch.stored)
        except RedisError as error:
            _raise(error, target)
        finally:
            self._turns.release()

    async def close(self) -> None:
        """Close the connections; nothing is lost without it, or when one does not close."""
        # redis-py bounds the wait for each by its timeout, and a busy loop may be later than that.
        with suppress(RedisError):
            await self._client.aclose()
