"""The state of one sandbox: received records, faults and the request log."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from worker.sandbox.account_time import AccountTime
from worker.sandbox.bloomreach_rules import CommandValidator
from worker.sandbox.clevertap_rules import Validator
from worker.sandbox.counts import Counts
from worker.sandbox.exports import Exports
from worker.sandbox.faults import Faults
from worker.sandbox.ledger import Ledger
from worker.sandbox.limiters import ConcurrencyLimiter, RateLimiter
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


class SandboxState:
    """``clock`` gives epoch seconds: it stamps records without a time."""

    def __init__(self, settings: SandboxSettings, clock: Callable[[], float] = time.time) -> None:
        self.settings = settings
        self.clock = clock
        self.started_at_s = clock()
        self.time = AccountTime(settings.time_zone)
        self.ledger = Ledger(settings.keep_records, self.time.day_of)
        self.faults = Faults()
        self.request_log: deque[LoggedRequest] = deque(maxlen=settings.keep_requests)
        self.validator = Validator(
            settings.restricted_events,
            settings.discarded_events,
            settings.refused_email_domains,
            settings.nested_objects,
            settings.event_properties,
        )
        self.commands = CommandValidator(
            settings.unauthorised_event_types, settings.unauthorised_properties
        )
        self.exports = Exports(self.ledger, self.time, settings, clock)
        self.counts = Counts(self.ledger, settings, clock)
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
        self.exports.forget()
        self.counts.forget()
