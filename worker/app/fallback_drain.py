"""Drains when no tick has come for a while: no beat runs, or the broker accepts no messages."""

from __future__ import annotations

import time

from ..telemetry.logs import get_logger
from .runtime import DestinationRuntime, Runtime
from .watchdog import UNAVAILABLE

log = get_logger(__name__)

AFTER_S = 15.0


def drain_overdue(runtime: Runtime, after_s: float = AFTER_S) -> None:
    """Deliver what is ready here and now, without a message, one batch after another.

    It starts ``after_s`` after the last tick, whichever process that was in, and at the earliest
    after three tick intervals; then it delivers for as long again. Trouble with one destination
    does not keep the others waiting.
    """
    for name, parts in runtime.destinations.items():
        try:
            silent_s = max(after_s, 3 * runtime.settings.drain_interval_s)
            if not runtime.stopping and parts.buffer.seconds_since_tick() >= silent_s:
                _drain(parts, after_s)
        except UNAVAILABLE as error:
            log.warning("could not drain", destination=name, error=type(error).__name__)
        except Exception:
            log.exception("could not drain", destination=name)


def _drain(parts: DestinationRuntime, for_s: float) -> None:
    log.warning(
        "no recent tick: draining without beat and broker", destination=parts.destination.name
    )
    parts.drain.tick()
    end = time.monotonic() + for_s  # from now: a silent broker took its time
    parts.deliverer.run_ready(is_over=lambda: time.monotonic() >= end)
