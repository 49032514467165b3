"""Ctrl-C and its relatives, as a request that a long-running command polls."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

# SIGHUP: the terminal was closed.
_STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """The requests to stop: the first (`stop`) stops in order, the second (`hurry`) at once.

    The handler only notes them: whatever it interrupts continues.
    """

    stop = hurry = False

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Note them in the block, instead of ending the process."""
        before = {number: signal.signal(number, self._note) for number in _STOP}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _note(self, *_: object) -> None:
        self.stop, self.hurry = True, self.stop
