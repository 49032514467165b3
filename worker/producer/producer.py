"""The way in: a record is checked, stamped, serialised and put into the buffer, in one round trip.

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

from ..buffer import keys
from ..buffer.accept import accept_arguments, accepted
from ..buffer.scripts import is_out_of_memory, script
from ..connections.clients import (
    PRODUCER_TIMEOUT_S,
    answer_was_lost,
    async_producer_client,
    producer_client,
    redis_url,
)
from ..errors import BufferFull, BufferUnavailable
from ..settings.destination import Destination
from ..settings.settings import Settings
from .encoder import EnqueueBatch, RecordEncoder, Rejected, SendResult, accepted_ids, named_ids
from .fanout import AsyncFanout, Fanout

__all__ = ["AsyncProducer", "Producer", "Rejected", "SendResult"]

# Calls of an AsyncProducer under way at once, each on a connection of its own: tasks are cheap, and
# there may be thousands. Redis is no quicker with more, and redis-py 8 lends no more than that.
MOST_AT_ONCE = 100


def _raise(error: RedisError, destination: Destination) -> NoReturn:
    """Tell a failure of Redis in the producer's words."""
    if is_out_of_memory(error):
        raise BufferFull(f"{destination.name}: Redis is out of memory") from error
    raise BufferUnavailable(
        f"{destination.name}: Redis did not take the record ({type(error).__name__})",
        sent=answer_was_lost(error),
    ) from error


class Producer:
    """Puts records into the buffer; safe to share between threads, and across a fork.

    Every call is one round trip. It waits a quarter of a second at most for each of its steps: a
    call on a connection there is has one, or two when Redis must be given the script (again). The
    first call on a connection has TCP's before them, and TLS, AUTH and SELECT where the address
    asks for them; Sentinels and a Cluster's nodes are asked first. Looking up a host's name takes
    what the system's resolver takes.

    Raises InvalidRecord, BufferFull or BufferUnavailable; then nothing of the record was enqueued,
    unless the error's ``sent`` says that the answer was lost.
    """

    def __init__(self, settings: Settings, client: redis.Redis) -> None:
        self._encoder = RecordEncoder(settings)
        self._client = client

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """A producer for REDIS_URL and the configured destinations; no vendor secret is needed.

        SettingsError names what is wrong with them.
        """
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
        target = self._encoder.destination(destination)
        ids = named_ids(identity, fbid, gpid, object_id)
        return self._put(target, self._encoder.event(target, name, properties, ids, ts))

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
        target = self._encoder.destination(destination)
        ids = named_ids(identity, fbid, gpid, object_id)
        return self._put(target, self._encoder.profile(target, properties, ids, ts))

    def send(self, record: Mapping[str, Any], *, destination: str | None = None) -> str:
        """Enqueue one record in the vendor's own shape. Returns the record's id."""
        target = self._encoder.destination(destination)
        return self._put(target, self._encoder.single(target, record))

    def send_many(
        self, records: Iterable[Mapping[str, Any]], *, destination: str | None = None
    ) -> SendResult:
        """Enqueue records in the vendor's own shape, a thousand a round trip.

        Records that break a rule are told in the result and cost the others nothing. A BufferError
        ends the call; its ``accepted`` holds the ids of the records that were enqueued before it.
        """
        target = self._encoder.destination(destination)
        rejections: list[Rejected] = []
        with accepted_ids() as ids:
            for call in self._encoder.calls(target, records, rejections):
                self._accept(target, call)
                ids.extend(call.ids)
        return SendResult(sorted(ids), rejections)

    def to(self, destination: str, *others: str) -> Fanout:
        """Several destinations for each record: `producer.to("clevertap", "other").event(...)`.

        UnknownDestination for a name that the configuration does not define.
        """
        return Fanout(self._encoder, self._encoder.destinations(destination, *others), self._accept)

    def _put(self, destination: Destination, call: EnqueueBatch) -> str:
        self._accept(destination, call)
        return call.ids[0]

    def _accept(self, destination: Destination, call: EnqueueBatch) -> None:
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
    """The same for asyncio; see Producer. One for each event loop.

    A hundred calls may be under way at once. Those beyond wait for their turn, a quarter of a
    second at most (``patience_s``), and are then told that nothing was sent.
    """

    def __init__(
        self,
        settings: Settings,
        client: redis.asyncio.Redis,
        *,
        patience_s: float = PRODUCER_TIMEOUT_S,
    ) -> None:
        self._encoder = RecordEncoder(settings)
        self._client = client
        self._patience_s = patience_s
        # A Cluster's client has a pool for each node, and no bound of its own.
        pool: Any = getattr(client, "connection_pool", None)
        most = MOST_AT_ONCE if pool is None else min(MOST_AT_ONCE, pool.max_connections)
        self._turns = asyncio.Semaphore(most)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """A producer for REDIS_URL and the configured destinations; no vendor secret is needed.

        SettingsError names what is wrong with them.
        """
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
        target = self._encoder.destination(destination)
        ids = named_ids(identity, fbid, gpid, object_id)
        return await self._put(target, self._encoder.event(target, name, properties, ids, ts))

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
        target = self._encoder.destination(destination)
        ids = named_ids(identity, fbid, gpid, object_id)
        return await self._put(target, self._encoder.profile(target, properties, ids, ts))

    async def send(self, record: Mapping[str, Any], *, destination: str | None = None) -> str:
        """Enqueue one record in the vendor's own shape; see Producer.send."""
        target = self._encoder.destination(destination)
        return await self._put(target, self._encoder.single(target, record))

    async def send_many(
        self, records: Iterable[Mapping[str, Any]], *, destination: str | None = None
    ) -> SendResult:
        """Enqueue records in the vendor's own shape; see Producer.send_many."""
        target = self._encoder.destination(destination)
        rejections: list[Rejected] = []
        with accepted_ids() as ids:
            for call in self._encoder.calls(target, records, rejections):
                await self._accept(target, call)
                ids.extend(call.ids)
        return SendResult(sorted(ids), rejections)

    def to(self, destination: str, *others: str) -> AsyncFanout:
        """Several destinations for each record; see Producer.to."""
        return AsyncFanout(
            self._encoder, self._encoder.destinations(destination, *others), self._accept
        )

    async def _put(self, destination: Destination, call: EnqueueBatch) -> str:
        await self._accept(destination, call)
        return call.ids[0]

    async def _accept(self, destination: Destination, call: EnqueueBatch) -> None:
        args = accept_arguments(destination, call.kind, call.identities, call.stored)
        await self._wait_for_turn(destination)
        try:
            answer = await script("accept").run_async(
                self._client, keys.base(destination.name), *args
            )
        except RedisError as error:
            _raise(error, destination)
        finally:
            self._turns.release()
        accepted(destination, answer)

    async def _wait_for_turn(self, destination: Destination) -> None:
        try:
            async with asyncio.timeout(self._patience_s):
                await self._turns.acquire()
        except TimeoutError:
            raise BufferUnavailable(
                f"{destination.name}: too many calls are waiting for Redis", sent=False
            ) from None

    async def close(self) -> None:
        """Close the connections; nothing is lost by not calling it, or by one that will not end."""
        # redis-py bounds the wait for each by its timeout, and a busy loop may be later than that.
        with suppress(RedisError):
            await self._client.aclose()
