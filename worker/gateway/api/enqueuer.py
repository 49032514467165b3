"""Where requests meet: whoever comes while a call to Redis is under way joins the next one.

So a busy gateway makes few, large calls, and an idle one makes no request wait. Each request keeps
its own fate: its records go in all or none, in the order of arrival, and one that is too large for
what room is left keeps none behind it out. A request is told after its own records are in Redis.
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
from worker.buffer.accept import accepted
from worker.buffer.records import new_id
from worker.buffer.scripts import is_out_of_memory, script
from worker.connections.clients import answer_was_lost
from worker.errors import BufferError, BufferFull, BufferUnavailable
from worker.settings.destination import Destination
from worker.telemetry.logs import get_logger

from .enqueue_request import ACCEPTED, OTHER_REQUEST, EnqueueRequest, arguments

# Redis is held for a millisecond by a thousand records; their bytes have to be copied as well.
MOST_RECORDS_A_CALL = 1000
MOST_BYTES_A_CALL = 4 * 1024 * 1024
log = get_logger(__name__)


class KeyReused(Exception):
    """The idempotency key was used with another request before; nothing was enqueued."""


@dataclass(slots=True)
class _Waiting:
    request: EnqueueRequest
    told: asyncio.Future[bytes | None]


class Enqueuer:
    """The way of one destination's records from this event loop to Redis."""

    def __init__(
        self, client: redis.asyncio.Redis, destination: Destination, *, max_waiting_bytes: int
    ) -> None:
        self._client = client
        self._destination = destination
        self._max_waiting_bytes = max_waiting_bytes
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._calls: asyncio.Task[None] | None = None

    async def take(self, request: EnqueueRequest) -> bytes | None:
        """Have the records taken, and return when they are in Redis.

        None when they are now; the first answer when the idempotency key was used before, and
        nothing was enqueued. Raises KeyReused, BufferFull, or BufferUnavailable, whose ``sent``
        tells whether the records may be in Redis all the same.
        """
        if self._waiting and self._waiting_bytes + request.size_bytes > self._max_waiting_bytes:
            raise BufferFull(f"{self._destination.name}: too many records wait for Redis")
        loop = asyncio.get_running_loop()
        waiting = _Waiting(request, loop.create_future())
        self._waiting.append(waiting)
        self._waiting_bytes += request.size_bytes
        if self._calls is None:
            self._calls = loop.create_task(self._call_until_empty())
        return await waiting.told

    async def _call_until_empty(self) -> None:
        while self._waiting:
            joined = self._join()
            try:
                results = await self._call([each.request for each in joined])
            except BufferUnavailable as error:
                _tell_all(joined, error)
                self._turn_away()
            except BufferError as error:
                _tell_all(joined, error)
            except Exception as error:
                # Nobody may wait for ever. What it was is logged, and each request is told.
                log.exception("a call to Redis failed", error=type(error).__name__)
                _tell_all(joined, error)
            else:
                for each, result in zip(joined, results, strict=True):
                    self._tell(each.told, result)
        self._calls = None

    def _join(self) -> list[_Waiting]:
        """The requests of the next call: in order, one at least, no more than Redis likes."""
        joined: list[_Waiting] = []
        records = size = 0
        while self._waiting:
            request = self._waiting[0].request
            records, size = records + request.records, size + request.size_bytes
            if joined and (records > MOST_RECORDS_A_CALL or size > MOST_BYTES_A_CALL):
                break
            joined.append(self._waiting.popleft())
            self._waiting_bytes -= request.size_bytes
        return joined

    def _turn_away(self) -> None:
        """Tell those who waited for a call that failed: behind a silent Redis the queue would move
        by a thousand records in two timeouts, and answer its last when nobody listens any more."""
        error = BufferUnavailable("the call before failed", sent=False)
        while self._waiting:
            _tell_all(self._join(), error)

    async def _call(self, requests: Sequence[EnqueueRequest]) -> list[Any]:
        """One step in Redis; asked for once more, under the same token, if its answer is lost."""
        args = arguments(self._destination, new_id(), requests)
        base = keys.base(self._destination.name)
        maybe_taken = False
        for tries_left in (1, 0):
            try:
                answer: list[Any] = await script("accept_requests").run_async(
                    self._client, base, *args
                )
            except RedisError as error:
                if is_out_of_memory(error):
                    raise BufferFull(f"{self._destination.name}: Redis is out of memory") from error
                maybe_taken = maybe_taken or answer_was_lost(error)
                if not tries_left or not maybe_taken:
                    raise BufferUnavailable(type(error).__name__, sent=maybe_taken) from error
            else:
                return answer
        raise AssertionError("the second try returns or raises")

    def _tell(self, told: asyncio.Future[bytes | None], result: Any) -> None:
        if told.done():  # the client has hung up meanwhile
            return
        if result == ACCEPTED:
            told.set_result(None)
        elif result == OTHER_REQUEST:
            told.set_exception(KeyReused())
        elif isinstance(result, bytes):
            told.set_result(result)
        else:
            try:
                accepted(self._destination, result)
            except BufferFull as error:
                told.set_exception(error)


def _tell_all(joined: Sequence[_Waiting], error: Exception) -> None:
    for each in joined:
        if not each.told.done():
            each.told.set_exception(error)
