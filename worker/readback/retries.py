"""How long to wait before a read-back request is repeated, and when to give up. Pure."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import random
from typing import Final

from ..connections.backoff import backoff
from ..errors import CredentialsRefused, VendorError
from ..vendors.clevertap.reads import ReadReply, ReplyKind

#: How long an export may be "in progress", or an account busy; the vendor names no bound. An older
#: page of it says of 429: "try again after 10 minutes".
BUSY_WITHIN_S: Final = 900.0
#: 5xx, broken connections, unreadable responses: with a back-off from 1 s about a minute.
FAILURES: Final = 6
#: A longer back-off only delays a person; the vendor may still ask for more.
LONGEST_WAIT_S: Final = 30.0


class Retries:
    """Failures since the last good response. Times in seconds; ``random`` is in [0, 1)."""

    def __init__(
        self,
        base_s: float,
        cap_s: float = LONGEST_WAIT_S,
        *,
        failures: int = FAILURES,
        random: Callable[[], float] = random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._base_s, self._cap_s = base_s, min(cap_s, LONGEST_WAIT_S)
        self._most_failures = failures
        self._random, self._clock = random, clock
        self.reset()

    def reset(self) -> None:
        """Forget the failures after a good response."""
        self._tries = self._failures = 0
        self._since: float | None = None

    def wait_s(self, reply: ReadReply) -> float:
        """Return the wait before the request is repeated; VendorError if that cannot help."""
        _raise_final(reply)
        now = self._clock()
        self._since = now if self._since is None else self._since
        self._tries += 1
        self._failures += reply.kind is ReplyKind.FAILED
        if self._failures >= self._most_failures:
            raise VendorError(f"the vendor failed {self._failures} times: {reply.error}")
        if now - self._since >= BUSY_WITHIN_S:
            raise VendorError(f"the vendor was busy for {BUSY_WITHIN_S:g} s: {reply.error}")
        # Between half and the whole of a doubling wait, so that it is never zero.
        half_to_whole = 0.5 + 0.5 * self._random()
        wait_s = backoff(self._tries - 1, self._base_s, self._cap_s, half_to_whole)
        return max(wait_s, min(reply.wait_s, BUSY_WITHIN_S))


def _raise_final(reply: ReadReply) -> None:
    if reply.kind is ReplyKind.DENIED:
        raise CredentialsRefused(
            f"the vendor refuses the account: {reply.error}; check account id, passcode and region"
        )
    if reply.kind is ReplyKind.TOO_LARGE:
        raise VendorError(reply.error)
    if reply.kind in (ReplyKind.REFUSED, ReplyKind.LOST):
        raise VendorError(f"the vendor refused the request: {reply.error}")
