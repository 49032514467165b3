"""A client of the read-back API: sends a request, and repeats it while that may help."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, Protocol

from ..errors import InvalidQuery, SettingsError
from ..settings.destination import Destination
from ..vendors.clevertap.reads import ClevertapReads, ReadReply, ReplyKind, parse_reply
from ..vendors.protocol import Request, Sender
from ..vendors.secret_headers import hidden
from ..vendors.transport import Transport
from .retries import FAILURES, Retries

#: Concurrent reads of one account: the vendor's page "API Request Limit".
CONCURRENCY: Final = 3
#: Waits of this length or longer are reported.
REPORTED_WAIT_S: Final = 5.0


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
        self.destination = destination
        self.reads = reads
        self.sleep = sleep
        self.clock = clock
        self.say: Callable[[str], object] = lambda _: None
        self._transport = transport

    def retries(self, failures: int = FAILURES) -> Retries:
        """Return retries for one series of requests, with the destination's back-off."""
        settings = self.destination
        return Retries(
            settings.backoff_base_s, settings.backoff_cap_s, failures=failures, clock=self.clock
        )

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


def refuse_unreadable(destination: Destination) -> None:
    """Raise InvalidQuery for a vendor without read-back, SettingsError without credentials."""
    if not destination.account.has_read_back:
        raise InvalidQuery(
            f"{destination.name}: no read-back from {destination.vendor}: its documented API only "
            "receives data, and cannot export or count it"
        )
    if missing := destination.account.missing():
        raise SettingsError(f"destinations.{destination.name}: not set: {', '.join(missing)}")


@contextmanager
def reading(
    destination: Destination, *, sleep: Callable[[float], object] = time.sleep
) -> Iterator[Reader]:
    """Open a reader of that account; its connections close with the block."""
    refuse_unreadable(destination)
    vendor = destination.account.adapter(destination.base_url)
    transport = Transport(
        vendor.base_url, timeout_s=destination.request_timeout_s, connections=CONCURRENCY
    )
    try:
        yield Reader(destination, ClevertapReads(vendor), transport, sleep=sleep)
    finally:
        transport.close()
