"""Get Event Count: a request, then polls with its ``req_id`` until the count is there."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import date
from typing import Final

from ..errors import CredentialsRefused, VendorError
from ..settings.destination import Destination
from ..vendors.clevertap.reads import ReadReply, ReplyKind, whole_number
from .client import CONCURRENCY, FAILURES, Reader, reading
from .queries import CountCondition, CountQuery, day_number

#: Half an hour at the vendor's 30 s between polls; its page names no bound.
POLLS: Final = 60
#: How often a count restarts because its req_id was lost (its lifetime is not documented).
MAX_RESTARTS: Final = 3


class PendingCount:
    """One pending count. It never waits: `step` returns how long to wait."""

    def __init__(self, reader: Reader, query: CountQuery, *, failures: int = FAILURES) -> None:
        self.result: int | None = None
        self._reader, self._query = reader, query
        self._retries = reader.retries(failures)
        self._request_id: int | None = None
        self._polls = self._restarts = 0

    def step(self) -> float | None:
        """Send one request; return the seconds until the next, or None once `result` is set.

        VendorError if there will be no result.
        """
        reads, known = self._reader.reads, self._request_id
        request = reads.start_count(self._query.body) if known is None else reads.poll_count(known)
        reply = self._reader.ask_once(request)
        if reply.kind is ReplyKind.DATA:
            self._retries.reset()
            return self._data(reply)
        if reply.kind is not ReplyKind.LOST or known is None:
            return self._retries.wait_s(reply)
        self._restarts += 1
        if self._restarts > MAX_RESTARTS:
            raise VendorError(
                f"{self._what}: the vendor lost the request {self._restarts} times: {reply.error}"
            )
        self._request_id = None
        return 0.0

    def _data(self, reply: ReadReply) -> float | None:
        # A partial response may carry a count too: the number counted so far.
        status = reply.body.get("status")
        if status == "success" or (status is None and "count" in reply.body):
            self.result = whole_number(reply.body.get("count"))
            if self.result is None:
                raise VendorError(f"{self._what}: the vendor's response has no count")
            return None
        found = whole_number(reply.body.get("req_id"))
        self._request_id = self._request_id if found is None else found
        if self._request_id is None:
            raise VendorError(f"{self._what}: the vendor's response has neither count nor req_id")
        self._polls += 1
        if self._polls > POLLS:
            raise VendorError(f"{self._what}: still not counted after {POLLS} polls")
        return self._reader.destination.count_poll_s

    @property
    def _what(self) -> str:
        return f"{self._query.event}, {self._query.first} to {self._query.last}"


def count_one(reader: Reader, query: CountQuery) -> int:
    """Return the vendor's count; VendorError if there is none."""
    pending = PendingCount(reader, query)
    while (wait_s := pending.step()) is not None:
        reader.wait(wait_s, "not counted yet")
    assert pending.result is not None  # noqa: S101 - `step` ends with a result, or raises
    return pending.result


def count(
    event: str,
    first: int | str | date,
    last: int | str | date,
    conditions: Sequence[CountCondition] = (),
    *,
    destination: Destination | str | None = None,
) -> int:
    """Return the vendor's count of an event from ``first`` to ``last``, days as in ExportQuery.

    Blocks while the vendor counts, and polls every ``count_poll_s`` (30 s). Raises InvalidQuery,
    SettingsError, VendorError.
    """
    query = CountQuery(event, day_number(first), day_number(last), tuple(conditions))
    with reading(destination) as reader:
        return count_one(reader, query)


def count_all(reader: Reader, queries: Sequence[CountQuery]) -> list[int | VendorError]:
    """Return the counts of many queries, in order; a failed query has its error instead.

    At most CONCURRENCY requests are in flight; while one count waits for its next poll, others are
    requested. CredentialsRefused is raised: it would concern the others as well.
    """
    return _CountQueue(reader, queries).run()


class _CountQueue:
    """Many counts; ``waiting`` holds those between two requests, by the time they are due."""

    def __init__(self, reader: Reader, queries: Sequence[CountQuery]) -> None:
        self._reader = reader
        self._counts = [PendingCount(reader, query) for query in queries]
        self._results: dict[int, int | VendorError] = {}
        self._waiting = [(0.0, at) for at in range(len(queries))]
        self._running: dict[Future[float | None], int] = {}

    def run(self) -> list[int | VendorError]:
        with ThreadPoolExecutor(CONCURRENCY) as pool:
            try:
                while self._waiting or self._running:
                    self._send(pool)
                    for future in self._done():
                        self._record(future, self._running.pop(future))
            except BaseException:  # the pool would wait for requests in flight: end them now
                self._reader.stop()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return [self._results[at] for at in range(len(self._counts))]

    def _send(self, pool: ThreadPoolExecutor) -> None:
        now = self._reader.clock()
        while self._waiting and len(self._running) < CONCURRENCY and self._waiting[0][0] <= now:
            _, at = heapq.heappop(self._waiting)
            self._running[pool.submit(self._counts[at].step)] = at

    def _done(self) -> Collection[Future[float | None]]:
        """Wait for a response or until the next request is due; return what came."""
        due_s = None
        if self._waiting and len(self._running) < CONCURRENCY:
            due_s = max(0.0, self._waiting[0][0] - self._reader.clock())
        if not self._running:
            self._reader.sleep(due_s or 0.0)
        return wait(self._running, due_s, FIRST_COMPLETED).done

    def _record(self, future: Future[float | None], at: int) -> None:
        try:
            wait_s = future.result()
        except CredentialsRefused:
            raise
        except VendorError as error:
            self._results[at] = error
            return
        if wait_s is not None:
            heapq.heappush(self._waiting, (self._reader.clock() + wait_s, at))
        elif (result := self._counts[at].result) is not None:
            self._results[at] = result
