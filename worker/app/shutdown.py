"""Ends a worker that was asked to stop and is stuck on a silent Redis or broker.

The stop itself is in `process.py`. Celery sets no time limit on its broker while it stops, and
redis-py's retries nest: each attempt at the command, the connection and its check waits for the
timeout. kombu's options do not reach them. Measured on Celery 5.7: 100 s after SIGTERM a worker
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

# After SIGTERM. A request may take 20 s of it, so each settlement has at least 15 s for itself;
# with CLOSE_WITHIN_S it is well below the 45 s that a supervisor must allow.
END_WITHIN_S = 35.0
CLOSE_WITHIN_S = 3.0


class ShutdownDeadline:
    """Ends the process ``within_s`` after `begin`; one that ends earlier never notices.

    ``close`` releases what can be released without waiting for a silent server.
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
        """Start the thread that waits for `begin`: a signal handler cannot do so safely."""
        threading.Thread(target=self._run, name="shutdown deadline", daemon=True).start()

    def begin(self) -> None:
        """Start the countdown; safe in a signal handler."""
        self._begun.set()

    def _run(self) -> None:
        self._begun.wait()
        threading.Event().wait(self._within_s)
        log.error(
            "shutdown deadline reached: Redis or the broker does not answer; "
            "batches in flight wait for their leases",
            after_s=self._within_s,
        )
        closing = threading.Thread(target=self._try_to_close, name="closing", daemon=True)
        closing.start()
        closing.join(self._close_within_s)
        logging.shutdown()
        self._end(0)

    def _try_to_close(self) -> None:
        try:
            self._close()
        except Exception:  # no reason to stay
            log.exception("could not close all connections")
