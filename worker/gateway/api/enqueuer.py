"""Coalesce requests: those that arrive during a call to Redis share the next one.

So a busy gateway makes few, large calls, and an idle one makes no request wait. Each request is
decided separately, in the order of arrival: one that is too large for the remaining room does not
keep a smaller one out.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import RedisError

from worker.buffer import keys
from worker.buffer.accept import ACCEPTED, KEY_REUSED, partition_arguments, raise_if_full
from worker.buffer.records import new_id
from worker.buffer.scripts import is_out_of_memory, script
from worker.connections.clients import answer_was_lost
from worker.errors import BufferError, BufferFull, BufferUnavailable
from worker.producer.encoder import EnqueueBatch
from worker.settings.destination import Destination
from worker.telemetry.logs import get_logger

from ..server.endpoint import Headers, HttpError, HttpRequest

HEADER = b"idempotency-key"
REPLAYED: Headers = ((b"idempotency-replayed", b"true"),)
_KEY = re.compile(rb"[\x21-\x7e]{1,255}")


class IdempotencyKey(NamedTuple):
    """The hash that the key is stored under, and the fingerprint of its request.

    Redis stores the verdicts in the step that accepts the records, so a repeat, even a concurrent
    one through another gateway, enqueues nothing. That ends after 24 hours, or when Redis loses its
    last second of writes, and the records with it.
    """

    hash: str
    fingerprint: str


def idempotency_key(request: HttpRequest, producer: str, body: bytes) -> IdempotencyKey | None:
    """Return the request's key, if it has one; the keys of two producers are never the same."""
    key = request.headers.get(HEADER)
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        raise HttpError(400, "Idempotency-Key: must be 1 to 255 visible ASCII characters")
    parts = b"\0".join((request.path.encode(), request.query, body))
    return IdempotencyKey(
        hashlib.sha256(producer.encode() + b"\0" + key).hexdigest(),
        hashlib.sha256(parts).hexdigest()[:32],
    )


# A thousand records hold Redis for a millisecond; their bytes have to be copied as well.
MAX_RECORDS_PER_CALL = 1000
MAX_BYTES_PER_CALL = 4 * 1024 * 1024
RESPONSES_KEPT_MS = 24 * 3600 * 1000
# A call with a lost answer is repeated once, immediately: after the timeout (5 s at most).
CALLS_KEPT_MS = 10_000
log = get_logger(__name__)


@dataclass(slots=True, eq=False)
class EnqueueRequest:
    """One request's valid records, kind by kind: Redis accepts all of them, or none.

    ``response`` is stored with the records, for repeats with the same key. ``result`` is what
    Redis returns for the request; its sizes are counted once, because the queue reads them often.
    """

    batches: Sequence[EnqueueBatch]
    key: IdempotencyKey | None = None
    response: bytes = b""
    records: int = field(init=False)
    size_bytes: int = field(init=False)
    result: asyncio.Future[Any] = field(init=False)

    def __post_init__(self) -> None:
        stored = [record for batch in self.batches for record in batch.stored]
        self.records = len(stored)
        self.size_bytes = sum(map(len, stored)) + len(self.response)


class Enqueuer:
    """Enqueues the records of one destination from this event loop."""

    def __init__(self, client: Redis, destination: Destination, max_waiting_bytes: int) -> None:
        self._client = client
        self._destination = destination
        self._max_waiting_bytes = max_waiting_bytes
        self._waiting: deque[EnqueueRequest] = deque()
        self._waiting_bytes = 0
        self._calls: asyncio.Task[None] | None = None

    async def enqueue(self, request: EnqueueRequest) -> bytes | None:
        """Enqueue the request's records, and return when they are in Redis.

        Returns None when they are; the stored response, with nothing enqueued, when the idempotency
        key was used before. Raises HttpError 422 when it was used with another request, BufferFull,
        or BufferUnavailable: with ``sent`` the records may be in Redis nevertheless.
        """
        if self._waiting and self._waiting_bytes + request.size_bytes > self._max_waiting_bytes:
            raise BufferFull(f"{self._destination.name}: too many records wait for Redis")
        loop = asyncio.get_running_loop()
        request.result = loop.create_future()
        self._waiting.append(request)
        self._waiting_bytes += request.size_bytes
        if self._calls is None:
            self._calls = loop.create_task(self._call_until_empty())
        result = await request.result
        if result == KEY_REUSED:
            text = "Idempotency-Key: was used with another request; nothing was accepted"
            raise HttpError(422, text)
        raise_if_full(self._destination, result)
        return None if result == ACCEPTED else result

    async def _call_until_empty(self) -> None:
        while self._waiting:
            joined = self._join()
            try:
                results = await self._call(joined)
            except BufferUnavailable as error:
                _fail(joined, error)
                # With a silent Redis the queue would move by a thousand records in two timeouts,
                # and its last clients would be gone before their answer.
                _fail(self._waiting, BufferUnavailable("the call before failed", sent=False))
                self._waiting.clear()
                self._waiting_bytes = 0
            except BufferError as error:
                _fail(joined, error)
            except Exception as error:
                # No request may wait for ever: the error is logged, and each request gets it.
                log.exception("a call to Redis failed", error=type(error).__name__)
                _fail(joined, error)
            else:
                for each, result in zip(joined, results, strict=True):
                    if not each.result.done():  # its client may have disconnected meanwhile
                        each.result.set_result(result)
        self._calls = None

    def _join(self) -> list[EnqueueRequest]:
        """Take the requests of the next call: in order, at least one, within the limits."""
        joined: list[EnqueueRequest] = []
        records = size = 0
        while self._waiting:
            request = self._waiting[0]
            records, size = records + request.records, size + request.size_bytes
            if joined and (records > MAX_RECORDS_PER_CALL or size > MAX_BYTES_PER_CALL):
                break
            joined.append(self._waiting.popleft())
            self._waiting_bytes -= request.size_bytes
        return joined

    async def _call(self, requests: Sequence[EnqueueRequest]) -> list[Any]:
        """Enqueue in one step; repeated once, with the same token, if Redis' answer is lost."""
        accept = script("accept_requests").run_async
        base = keys.base(self._destination.name)
        args = arguments(self._destination, new_id(), requests)
        was_lost = False
        while True:
            try:
                results: list[Any] = await accept(self._client, base, *args)
                return results
            except RedisError as error:
                if is_out_of_memory(error):
                    raise BufferFull(f"{self._destination.name}: Redis is out of memory") from error
                if was_lost or not answer_was_lost(error):
                    raise BufferUnavailable(type(error).__name__, sent=was_lost) from error
                was_lost = True


def arguments(
    destination: Destination, token: str, requests: Sequence[EnqueueRequest]
) -> list[Any]:
    """Return the arguments of `accept_requests`."""
    limits = (destination.max_buffered, CALLS_KEPT_MS, RESPONSES_KEPT_MS)
    args: list[Any] = [token, *limits, len(requests)]
    for request in requests:
        args += (*(request.key or ("", "")), request.response, len(request.batches))
        for batch in request.batches:
            args += partition_arguments(destination, batch.kind, batch.identities)
            args += (len(batch.stored), *batch.stored)
    return args


def _fail(requests: Iterable[EnqueueRequest], error: Exception) -> None:
    for each in requests:
        if not each.result.done():
            each.result.set_exception(error)
