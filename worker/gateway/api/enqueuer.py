"""Coalesce requests: those that arrive during a call to Redis share the next one.

So a busy gateway makes few, large calls, and an idle one makes no request wait. Each request is
decided separately: its records go in all or none, in the order of arrival, and one that is too
large for the remaining room does not keep a smaller one out. A request is answered after its own
records are in Redis.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis.asyncio
from redis.exceptions import RedisError

from worker.buffer import keys
from worker.buffer.accept import ACCEPTED, KEY_REUSED, raise_if_full
from worker.buffer.records import new_id
from worker.buffer.scripts import is_out_of_memory, script
from worker.connections.clients import answer_was_lost
from worker.errors import BufferError, BufferFull, BufferUnavailable
from worker.settings.destination import Destination
from worker.telemetry.logs import get_logger

from .enqueue_request import EnqueueRequest, arguments

# A thousand records hold Redis for a millisecond; their bytes have to be copied as well.
MAX_RECORDS_PER_CALL = 1000
MAX_BYTES_PER_CALL = 4 * 1024 * 1024
log = get_logger(__name__)


class KeyReused(Exception):
    """The idempotency key was used with another request before; nothing was enqueued."""


@dataclass(slots=True)
class _Waiting:
    request: EnqueueRequest
    response: asyncio.Future[bytes | None]


class Enqueuer:
    """Enqueues the records of one destination from this event loop."""

    def __init__(
        self, client: redis.asyncio.Redis, destination: Destination, *, max_waiting_bytes: int
    ) -> None:
        self._client = client
        self._destination = destination
        self._max_waiting_bytes = max_waiting_bytes
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._calls: asyncio.Task[None] | None = None

    async def enqueue(self, request: EnqueueRequest) -> bytes | None:
        """Enqueue the request's records, and return when they are in Redis.

        Returns None when they are; the stored response, with nothing enqueued, when the idempotency
        key was used before. Raises KeyReused, BufferFull, or BufferUnavailable: with ``sent`` the
        records may be in Redis nevertheless.
        """
        if self._waiting and self._waiting_bytes + request.size_bytes > self._max_waiting_bytes:
            raise BufferFull(f"{self._destination.name}: too many records wait for Redis")
        loop = asyncio.get_running_loop()
        waiting = _Waiting(request, loop.create_future())
        self._waiting.append(waiting)
        self._waiting_bytes += request.size_bytes
        if self._calls is None:
            self._calls = loop.create_task(self._call_until_empty())
        return await waiting.response

    async def _call_until_empty(self) -> None:
        while self._waiting:
            joined = self._join()
            try:
                results = await self._call([each.request for each in joined])
            except BufferUnavailable as error:
                _fail_all(joined, error)
                self._fail_waiting()
            except BufferError as error:
                _fail_all(joined, error)
            except Exception as error:
                # No request may wait for ever: the error is logged, and each request gets it.
                log.exception("a call to Redis failed", error=type(error).__name__)
                _fail_all(joined, error)
            else:
                for each, result in zip(joined, results, strict=True):
                    self._resolve(each.response, result)
        self._calls = None

    def _join(self) -> list[_Waiting]:
        """Take the requests of the next call: in order, at least one, within the limits."""
        joined: list[_Waiting] = []
        records = size = 0
        while self._waiting:
            request = self._waiting[0].request
            records, size = records + request.records, size + request.size_bytes
            if joined and (records > MAX_RECORDS_PER_CALL or size > MAX_BYTES_PER_CALL):
                break
            joined.append(self._waiting.popleft())
            self._waiting_bytes -= request.size_bytes
        return joined

    def _fail_waiting(self) -> None:
        """Fail the requests behind a failed call: with a silent Redis the queue would move by a
        thousand records in two timeouts, and its last clients would be gone before their answer."""
        error = BufferUnavailable("the call before failed", sent=False)
        while self._waiting:
            _fail_all(self._join(), error)

    async def _call(self, requests: Sequence[EnqueueRequest]) -> list[Any]:
        """Enqueue in one step; repeated once, with the same token, if Redis' answer is lost."""
        args = arguments(self._destination, new_id(), requests)
        base = keys.base(self._destination.name)
        maybe_accepted = False
        for tries_left in (1, 0):
            try:
                answer: list[Any] = await script("accept_requests").run_async(
                    self._client, base, *args
                )
            except RedisError as error:
                if is_out_of_memory(error):
                    raise BufferFull(f"{self._destination.name}: Redis is out of memory") from error
                maybe_accepted = maybe_accepted or answer_was_lost(error)
                if not tries_left or not maybe_accepted:
                    raise BufferUnavailable(type(error).__name__, sent=maybe_accepted) from error
            else:
                return answer
        raise AssertionError("the second try returns or raises")

    def _resolve(self, response: asyncio.Future[bytes | None], result: Any) -> None:
        if response.done():  # the client has disconnected meanwhile
            return
        if result == ACCEPTED:
            response.set_result(None)
        elif result == KEY_REUSED:
            response.set_exception(KeyReused())
        elif isinstance(result, bytes):
            response.set_result(result)
        else:
            try:
                raise_if_full(self._destination, result)
            except BufferFull as error:
                response.set_exception(error)


def _fail_all(joined: Sequence[_Waiting], error: Exception) -> None:
    for each in joined:
        if not each.response.done():
            each.response.set_exception(error)
