"""Ctrl-C and its relatives, as a request that a long-running command polls."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# SIGHUP: the terminal was closed.
_STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """Counts the requests to stop: the first stops in order, the second without waiting.

    The handler only counts: whatever it interrupts continues.
    """

    def __init__(self) -> None:
        self._received = 0

    @property
    def stop(self) -> bool:
        """True after the first request."""
        return self._received > 0

    @property
    def hurry(self) -> bool:
        """True after the second request."""
        return self._received > 1

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Count them in the block, instead of ending the process."""
        before = {number: signal.signal(number, self._count) for number in _STOP}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _count(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._received += 1
