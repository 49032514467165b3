"""Puts a question to the vendor, and again while that is of use."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, Protocol

from ..errors import InvalidQuery, SettingsError
from ..settings.destination import Destination
from ..vendors.clevertap.reads import ClevertapReads, ReadReply, ReplyKind, parse_reply
from ..vendors.protocol import Request, Response, UploadResult
from ..vendors.secret_headers import hidden
from ..vendors.transport import Transport
from .retries import FAILURES, Patience

#: Reads under way for an account at a time: the vendor's page "API Request Limit".
CONCURRENCY: Final = 3
#: A wait that is as long is told.
TOLD_WAIT_S: Final = 5.0


class Sender(Protocol):
    """What carries a request out: the transport."""

    def send(self, request: Request) -> Response | UploadResult:
        """Send a request; return the response, or what its absence means."""

    def stop_by(self, seconds: float) -> None:
        """Let no request go on longer than so many seconds from now."""


class Reader:
    """The read-back side of one account; may be shared between threads. ``sleep`` takes seconds;
    ``say`` is told of long waits."""

    def __init__(
        self,
        destination: Destination,
        reads: ClevertapReads,
        sender: Sender,
        *,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.destination = destination
        self.reads = reads
        self.sleep = sleep
        self.clock = clock
        self.say: Callable[[str], object] = lambda _: None
        self._sender = sender

    def patience(self, failures: int = FAILURES) -> Patience:
        """Patience for one line of questions, with the destination's back-off."""
        settings = self.destination
        return Patience(
            settings.backoff_base_s, settings.backoff_cap_s, failures=failures, clock=self.clock
        )

    def wait(self, seconds: float, why: str) -> None:
        """Wait, and say so when a person would wonder."""
        if seconds >= TOLD_WAIT_S:
            self.say(f"{why}; asking again in {seconds:.0f} s")
        self.sleep(seconds)

    def stop(self) -> None:
        """End every question under way, and ask no more."""
        self._sender.stop_by(0.0)

    def once(self, request: Request) -> ReadReply:
        """Ask once."""
        reply = parse_reply(self._sender.send(request), time.time())
        return replace(reply, error=hidden(request.headers, reply.error)) if reply.error else reply

    def ask(self, request: Request) -> ReadReply:
        """Ask until the answer is data, or that a cursor is lost; VendorError for the rest."""
        patience = self.patience()
        while True:
            reply = self.once(request)
            if reply.kind in (ReplyKind.DATA, ReplyKind.LOST):
                return reply
            self.wait(patience.wait_s(reply), reply.error)


def refuse_unreadable(destination: Destination) -> None:
    """InvalidQuery for a vendor without read-back, SettingsError for one without credentials."""
    if not destination.account.has_read_back:
        raise InvalidQuery(
            f"{destination.name}: no read-back from {destination.vendor}: the documents this is "
            "built on tell how to send to it, and no way to export or count what was sent"
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
