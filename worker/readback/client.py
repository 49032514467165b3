"""A client of the read-back API: sends a request, and repeats it while that may help."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from random import random
from typing import Final, Protocol

from ..connections.backoff import backoff
from ..errors import CredentialsRefused, InvalidQuery, SettingsError, VendorError
from ..settings.destination import Destination
from ..settings.settings import Settings
from ..vendors.clevertap.reads import ClevertapReads, ReadReply, ReplyKind, parse_reply
from ..vendors.protocol import Request, Sender
from ..vendors.secret import hidden
from ..vendors.transport import Transport

#: Concurrent reads of one account: the vendor's page "API Request Limit".
CONCURRENCY: Final = 3
#: Waits of this length or longer are reported.
REPORTED_WAIT_S: Final = 5.0
#: How long an export may be "in progress", or an account busy; the vendor names no bound. An older
#: page of it says of 429: "try again after 10 minutes".
BUSY_WITHIN_S: Final = 900.0
#: 5xx, broken connections, unreadable responses: with a back-off from 1 s about a minute.
FAILURES: Final = 6
#: A longer back-off only delays a person; the vendor may still ask for more.
LONGEST_WAIT_S: Final = 30.0


@dataclass
class Retries:
    """Failures since the last good response: how long to wait, and when to give up. Pure.

    Times in seconds; ``random`` is in [0, 1).
    """

    base_s: float
    cap_s: float = LONGEST_WAIT_S
    most_failures: int = FAILURES
    random: Callable[[], float] = random
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the failures after a good response."""
        self._tries = self._failures = 0
        self._since: float | None = None

    def wait_s(self, reply: ReadReply) -> float:
        """Return the wait before the request is repeated; VendorError if that cannot help."""
        match reply.kind:
            case ReplyKind.DENIED:
                hint = "check account id, passcode and region"
                raise CredentialsRefused(f"the vendor refuses the account: {reply.error}; {hint}")
            case ReplyKind.TOO_LARGE:
                raise VendorError(reply.error)
            case ReplyKind.REFUSED | ReplyKind.LOST:
                raise VendorError(f"the vendor refused the request: {reply.error}")
        now = self.clock()
        self._since = now if self._since is None else self._since
        self._tries += 1
        self._failures += reply.kind is ReplyKind.FAILED
        if self._failures >= self.most_failures:
            raise VendorError(f"the vendor failed {self._failures} times: {reply.error}")
        if now - self._since >= BUSY_WITHIN_S:
            raise VendorError(f"the vendor was busy for {BUSY_WITHIN_S:g} s: {reply.error}")
        # Between half and the whole of a doubling wait, so that it is never zero.
        half_to_whole = 0.5 + 0.5 * self.random()
        cap_s = min(self.cap_s, LONGEST_WAIT_S)
        wait_s = backoff(self._tries - 1, self.base_s, cap_s, half_to_whole)
        return max(wait_s, min(reply.wait_s, BUSY_WITHIN_S))


class StoppableSender(Sender, Protocol):
    """A sender that can end its requests early."""

    def stop_by(self, seconds: float) -> None:
        """End every request within this many seconds from now."""


class Reader:
    """The read-back API of one account; threads may share it. ``sleep`` takes seconds; ``say``
    reports long waits."""

    def __init__(
        self,
        destination: Destination,
        reads: ClevertapReads,
        transport: StoppableSender,
        *,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.destination, self.reads = destination, reads
        self.sleep, self.clock = sleep, clock
        self.say: Callable[[str], object] = lambda _: None
        self._transport = transport

    def retries(self, failures: int = FAILURES) -> Retries:
        """Return retries for one series of requests, with the destination's back-off."""
        base_s, cap_s = self.destination.backoff_base_s, self.destination.backoff_cap_s
        return Retries(base_s, cap_s, failures, clock=self.clock)

    def wait(self, seconds: float, why: str) -> None:
        """Wait; report a long wait."""
        if seconds >= REPORTED_WAIT_S:
            self.say(f"{why}; retrying in {seconds:.0f} s")
        self.sleep(seconds)

    def stop(self) -> None:
        """End every request in flight, and send no more."""
        self._transport.stop_by(0.0)

    def ask_once(self, request: Request) -> ReadReply:
        """Send a request once."""
        reply = parse_reply(self._transport.send(request), time.time())
        return replace(reply, error=hidden(request.headers, reply.error)) if reply.error else reply

    def ask(self, request: Request) -> ReadReply:
        """Send a request until it yields data or a lost cursor; raise VendorError otherwise."""
        retries = self.retries()
        while True:
            reply = self.ask_once(request)
            if reply.kind in (ReplyKind.DATA, ReplyKind.LOST):
                return reply
            self.wait(retries.wait_s(reply), reply.error)


def readable(destination: Destination | str | None) -> Destination:
    """Return a destination, also by its name or as the only one, that can be read back.

    Raises InvalidQuery for a vendor without read-back, SettingsError without credentials.
    """
    if not isinstance(destination, Destination):
        destination = Settings.from_env().destination(destination)
    if not destination.account.has_read_back:
        raise InvalidQuery(
            f"{destination.name}: no read-back from {destination.vendor}: its documented API only "
            "receives data, and cannot export or count it"
        )
    if missing := destination.account.missing():
        raise SettingsError(f"destinations.{destination.name}: not set: {', '.join(missing)}")
    return destination


@contextmanager
def reading(
    destination: Destination | str | None, *, sleep: Callable[[float], object] = time.sleep
) -> Iterator[Reader]:
    """Open a reader of a `readable` account; its connections close with the block."""
    to = readable(destination)
    vendor = to.account.adapter(to.base_url)
    timeout_s = to.request_timeout_s
    transport = Transport(vendor.base_url, timeout_s=timeout_s, connections=CONCURRENCY)
    try:
        yield Reader(to, ClevertapReads(vendor), transport, sleep=sleep)
    finally:
        transport.close()
