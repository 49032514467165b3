"""Drains when no tick has come for a while: no beat runs, or the broker accepts no messages."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..telemetry.logs import get_logger
from .runtime import DestinationRuntime, Runtime
from .watchdog import UNAVAILABLE

log = get_logger(__name__)

AFTER_S = 15.0


class FallbackDrain:
    """Delivers what is ready in this process, without a message, one batch after another.

    It starts ``after_s`` after the last tick of any process, and at the earliest after three tick
    intervals; then it delivers for ``after_s``.
    """

    def __init__(self, runtime: Callable[[], Runtime], *, after_s: float = AFTER_S) -> None:
        self._runtime = runtime
        self._after_s = after_s

    def run(self) -> None:
        """Drain every overdue destination; trouble with one does not keep the others waiting."""
        for name, parts in self._runtime().destinations.items():
            try:
                self._run(parts)
            except UNAVAILABLE as error:
                log.warning("could not drain", destination=name, error=type(error).__name__)
            except Exception:
                log.exception("could not drain", destination=name)

    def _run(self, parts: DestinationRuntime) -> None:
        runtime = self._runtime()
        after_s = max(self._after_s, 3 * runtime.settings.drain_interval_s)
        if runtime.stopping or parts.buffer.seconds_since_tick() < after_s:
            return
        log.warning(
            "no recent tick: draining without beat and broker", destination=parts.destination.name
        )
        parts.drain.tick()
        end = time.monotonic() + self._after_s  # from now: a silent broker took its time
        parts.deliverer.run_ready(is_over=lambda: time.monotonic() >= end)
