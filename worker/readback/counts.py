"""Get Event Count: asked once, then polled with the ``req_id`` it gives until it is counted."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import date
from typing import Final

from ..errors import CredentialsRefused, VendorError
from ..settings.destination import Destination
from ..settings.settings import Settings
from ..vendors.clevertap.reads import ReadReply, ReplyKind, whole_number
from ..vendors.protocol import Request
from .client import CONCURRENCY, Reader, reading
from .queries import CountQuery, Filter, day_number
from .retries import FAILURES

#: Half an hour at the vendor's 30 s between polls; its page names no bound.
POLLS: Final = 60
#: So often a count is asked anew because its req_id was lost (its life is nowhere documented).
ASKED_ANEW: Final = 3


class Counting:
    """One count under way. It never waits itself: `step` tells how long to wait."""

    def __init__(self, reader: Reader, query: CountQuery, *, failures: int = FAILURES) -> None:
        self.result: int | None = None
        self._reader, self._query = reader, query
        self._patience = reader.patience(failures)
        self._request_id: int | None = None
        self._polls = self._anew = 0

    def step(self) -> float | None:
        """Send one request; returns the seconds until the next, None when `result` is there.

        VendorError when there will be no result.
        """
        reply = self._reader.once(self._request())
        match reply.kind:
            case ReplyKind.DATA:
                self._patience.calm()
                return self._data(reply)
            case ReplyKind.LOST if self._request_id is not None:
                return self._ask_anew(reply)
            case _:
                return self._patience.wait_s(reply)

    def _request(self) -> Request:
        reads = self._reader.reads
        if self._request_id is None:
            return reads.start_count(self._query.body)
        return reads.poll_count(self._request_id)

    def _data(self, reply: ReadReply) -> float | None:
        # A partial answer may carry a count too: the one it has come to so far.
        status = reply.body.get("status")
        if status == "success" or (status is None and "count" in reply.body):
            self.result = whole_number(reply.body.get("count"))
            if self.result is None:
                raise VendorError(f"{self._what}: the vendor's answer has no count")
            return None
        found = whole_number(reply.body.get("req_id"))
        self._request_id = self._request_id if found is None else found
        if self._request_id is None:
            raise VendorError(f"{self._what}: the vendor's answer has neither count nor req_id")
        self._polls += 1
        if self._polls > POLLS:
            raise VendorError(f"{self._what}: still not counted after {POLLS} polls")
        return self._reader.destination.count_poll_s

    def _ask_anew(self, reply: ReadReply) -> float:
        self._anew += 1
        if self._anew > ASKED_ANEW:
            raise VendorError(
                f"{self._what}: the vendor lost the request {self._anew} times: {reply.error}"
            )
        self._request_id = None
        return 0.0

    @property
    def _what(self) -> str:
        return f"{self._query.event}, {self._query.first} to {self._query.last}"


def count_one(reader: Reader, query: CountQuery) -> int:
    """Return the vendor's count; VendorError if it gives none."""
    counting = Counting(reader, query)
    while (wait_s := counting.step()) is not None:
        reader.wait(wait_s, "not counted yet")
    assert counting.result is not None  # noqa: S101 - `step` ends with a result, or raises
    return counting.result


def count(
    event: str,
    first: int | str | date,
    last: int | str | date,
    filters: Sequence[Filter] = (),
    *,
    destination: Destination | str | None = None,
) -> int:
    """Return the vendor's count of an event from ``first`` to ``last``, days as in ExportQuery.

    Blocks for as long as the vendor counts: it wants ``count_poll_s`` (30 s) between polls. Raises
    InvalidQuery, SettingsError, VendorError.
    """
    query = CountQuery(event, day_number(first), day_number(last), tuple(filters))
    if not isinstance(destination, Destination):
        destination = Settings.from_env().destination(destination)
    with reading(destination) as reader:
        return count_one(reader, query)


def count_all(reader: Reader, queries: Sequence[CountQuery]) -> list[int | VendorError]:
    """Count many queries, in order; a query that failed yields its error instead.

    At most CONCURRENCY requests are under way; while one question waits for its next poll, others
    are asked. CredentialsRefused is raised: the other answers would be the same.
    """
    return _Round(reader, queries).run()


class _Round:
    """Many counts: ``waiting`` holds those between two requests, by the time they are due."""

    def __init__(self, reader: Reader, queries: Sequence[CountQuery]) -> None:
        self._reader = reader
        self._countings = [Counting(reader, query) for query in queries]
        self._results: dict[int, int | VendorError] = {}
        self._waiting = [(0.0, at) for at in range(len(queries))]
        self._running: dict[Future[float | None], int] = {}

    def run(self) -> list[int | VendorError]:
        with ThreadPoolExecutor(CONCURRENCY) as pool:
            try:
                while self._waiting or self._running:
                    self._send(pool)
                    self._take()
            except BaseException:  # the pool waits for what is under way: it is to end now
                self._reader.stop()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return [self._results[at] for at in range(len(self._countings))]

    def _send(self, pool: ThreadPoolExecutor) -> None:
        now = self._reader.clock()
        while self._waiting and len(self._running) < CONCURRENCY and self._waiting[0][0] <= now:
            _, at = heapq.heappop(self._waiting)
            self._running[pool.submit(self._countings[at].step)] = at

    def _take(self) -> None:
        """Note what is answered; wait until something is, or until the next question is due."""
        room = len(self._running) < CONCURRENCY
        due_s = self._waiting[0][0] - self._reader.clock() if self._waiting and room else None
        if not self._running:
            self._reader.sleep(max(0.0, due_s or 0.0))
            return
        done, _ = wait(self._running, None if due_s is None else max(0.0, due_s), FIRST_COMPLETED)
        for future in done:
            self._note(future, self._running.pop(future))

    def _note(self, future: Future[float | None], at: int) -> None:
        try:
            wait_s = future.result()
        except CredentialsRefused:
            raise
        except VendorError as error:
            self._results[at] = error
            return
        if wait_s is not None:
            heapq.heappush(self._waiting, (self._reader.clock() + wait_s, at))
        elif (result := self._countings[at].result) is not None:
            self._results[at] = result
