"""The state of one sandbox: received records, faults, limits and the request log."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from worker.sandbox.bloomreach_rules import CommandValidator
from worker.sandbox.clevertap_rules import Validator
from worker.sandbox.faults import Faults
from worker.sandbox.ledger import AccountTime, Ledger
from worker.sandbox.reads import ReadBack
from worker.sandbox.settings import SandboxSettings


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """A request in the log; ``status`` 0 is a connection broken without a response."""

    at_s: float
    vendor: str
    method: str
    path: str
    received_bytes: int
    status: int
    took_ms: float
    records: int
    refused: int
    fault: str


class ConcurrencyLimiter:
    """Allows ``limit`` requests at once; ``highest`` is the peak."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._inside = self.highest = 0

    @contextmanager
    def entered(self) -> Iterator[bool]:
        """Enter, and yield whether the request is allowed; it counts until the block ends."""
        if self._inside >= self._limit:
            yield False
            return
        self._inside += 1
        self.highest = max(self.highest, self._inside)
        try:
            yield True
        finally:
            self._inside -= 1


class RateLimiter:
    """Allows ``per_s`` requests a second, and one second's worth at once; 0 for no limit."""

    def __init__(self, per_s: float, clock: Callable[[], float]) -> None:
        self._per_s, self._clock = per_s, clock
        self._left, self._at = per_s, clock()

    @contextmanager
    def entered(self) -> Iterator[bool]:
        """Yield whether the request is allowed."""
        now = self._clock()
        self._left = min(self._per_s, self._left + (now - self._at) * self._per_s)
        self._at = now
        enough = self._per_s <= 0 or self._left >= 1
        self._left -= 1 if enough else 0
        yield enough


class SandboxState:
    """``clock`` gives epoch seconds: it stamps records without a time."""

    def __init__(self, settings: SandboxSettings, clock: Callable[[], float] = time.time) -> None:
        self.settings, self.clock = settings, clock
        self.started_at_s = clock()
        self.ledger = Ledger(settings.keep_records, AccountTime(settings.time_zone))
        self.faults = Faults()
        self.request_log: deque[LoggedRequest] = deque(maxlen=settings.keep_requests)
        self.validator = Validator(settings)
        self.commands = CommandValidator(settings)
        self.read_back = ReadBack(self.ledger, settings, clock)
        self.uploads = ConcurrencyLimiter(settings.upload_concurrency)
        self.reads = ConcurrencyLimiter(settings.read_concurrency)
        self.tracking = RateLimiter(settings.bloomreach_requests_per_s, clock)

    def reset(self) -> None:
        """Forget everything received, but no faults."""
        self.ledger.reset()
        self.request_log.clear()
        self.forget_cursors()

    def forget_cursors(self) -> None:
        """Invalidate every cursor and req_id."""
        self.read_back.forget()
