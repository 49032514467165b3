"""Ends a worker that was told to stop, and waits for a Redis or a broker that says nothing.

Celery lets its broker take all the time it wants while it stops, and redis-py's attempts at a
silent one nest: each waits its timeout, for each attempt at the command, the connection and its
check. kombu's options do not reach them. Measured on Celery 5.7: 100 s after SIGTERM a worker
still ran, so only its supervisor's SIGKILL would have ended it.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Any

from ..telemetry.logs import get_logger

log = get_logger(__name__)

# After SIGTERM. A request may go on for 20 s of it, so each settlement has 15 s or more for itself;
# with CLOSE_WITHIN_S it is well inside the 45 s that supervisors are to give.
END_WITHIN_S = 35.0
CLOSE_WITHIN_S = 3.0


class ShutdownDeadline:
    """Waits on a thread of its own for `begin`; ``within_s`` later the process is over.

    ``close`` gives back what can be given back without asking anybody who may be silent. A process
    that ends before, as it nearly always does, never hears of it.
    """

    def __init__(
        self,
        close: Callable[[], object],
        *,
        within_s: float = END_WITHIN_S,
        close_within_s: float = CLOSE_WITHIN_S,
        end: Callable[[int], Any] = os._exit,
    ) -> None:
        self._close = close
        self._within_s = within_s
        self._close_within_s = close_within_s
        self._end = end
        self._begun = threading.Event()

    def start(self) -> None:
        """Wait for `begin`: a signal handler cannot start a thread safely."""
        threading.Thread(target=self._run, name="ending", daemon=True).start()

    def begin(self) -> None:
        """The process is told to stop; fit for a signal handler."""
        self._begun.set()

    def _run(self) -> None:
        self._begun.wait()
        threading.Event().wait(self._within_s)
        log.error(
            "something gives no answer, most likely Redis or the broker: ending without it; "
            "what is in flight waits for its lease",
            after_s=self._within_s,
        )
        closing = threading.Thread(target=self._close_or_tell, name="closing", daemon=True)
        closing.start()
        closing.join(self._close_within_s)
        logging.shutdown()
        self._end(0)

    def _close_or_tell(self) -> None:
        try:
            self._close()
        except Exception:  # no reason to live on
            log.exception("not everything could be closed")
