"""Ends a worker that is alive and does nothing, so that its supervisor starts another.

If a connection to the broker is lost without being closed, the worker waits on it for ever. The
watchdog asks the broker on a connection of its own: if messages wait although this worker has been
idle for ``STUCK_AFTER_S``, it ends the process with EX_SOFTWARE.

It also runs the fallback drain, so that a dead beat and a broker that accepts no messages cost
latency, and nothing else.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from celery import Celery, signals
from kombu.exceptions import OperationalError

from ..connections.clients import TRANSIENT
from ..connections.cluster import UNSETTLED
from ..settings.settings import ProcessSettings
from ..telemetry.logs import get_logger
from .runtime import DestinationRuntime, Runtime
from .scheduler import queued_messages

log = get_logger(__name__)

EXIT_STUCK = 70  # EX_SOFTWARE of sysexits.h
CHECK_EVERY_S = 2.5
STUCK_AFTER_S = 20.0
FALLBACK_EVERY_S = 5.0
OVERDUE_AFTER_S = 15.0
# Redis or the broker is away, which passes. Any other error is a bug.
UNAVAILABLE = (*TRANSIENT, *UNSETTLED, OperationalError)


class Watchdog:
    """Checks this worker every few seconds, from `start` to `stop`, on a thread of its own.

    ``fallback_drain`` is called every few seconds on another one.
    """

    def __init__(
        self,
        app: Celery,
        *,
        fallback_drain: Callable[[], object] = lambda: None,
        check_every_s: float = CHECK_EVERY_S,
        fallback_every_s: float = FALLBACK_EVERY_S,
        clock: Callable[[], float] = time.monotonic,
        end: Callable[[int], Any] = os._exit,
    ) -> None:
        self._app = app
        self._fallback_drain = fallback_drain
        self._check_every_s = check_every_s
        self._fallback_every_s = fallback_every_s
        self._clock = clock
        self._end = end
        self._stopped = threading.Event()
        self._started = False
        self._running = 0
        self._heartbeat = ""
        self._lock = threading.Lock()
        self._last_progress = clock()

    def start(self) -> None:
        """Start the threads, once: Celery calls this again whenever it has reconnected."""
        if self._started:
            return
        self._started = True
        self._heartbeat = ProcessSettings.from_env().heartbeat_path
        signals.task_prerun.connect(self.task_began, weak=False)
        signals.task_postrun.connect(self.task_ended, weak=False)
        self.progress()
        for target, name in ((self._watch, "watchdog"), (self._drain, "fallback drain")):
            threading.Thread(target=target, name=name, daemon=True).start()

    def stop(self) -> None:
        """Stop both threads after their current round."""
        self._stopped.set()

    def progress(self) -> None:
        self._last_progress = self._clock()

    def task_began(self, **_: Any) -> None:
        with self._lock:
            self._running += 1
        self.progress()

    def task_ended(self, **_: Any) -> None:
        with self._lock:
            self._running -= 1
        self.progress()

    @property
    def idle_s(self) -> float:
        return self._clock() - self._last_progress

    def _watch(self) -> None:
        self._touch_heartbeat()
        while not self._stopped.wait(self._check_every_s):
            self._touch_heartbeat()
            self.check()

    def _touch_heartbeat(self) -> None:
        """Touch the heartbeat file: if it is old, not even this thread runs."""
        if self._heartbeat:
            try:
                Path(self._heartbeat).touch()
            except OSError as error:
                log.warning("could not write the heartbeat file", error=error.strerror)

    def _drain(self) -> None:
        failures = 0
        while not self._stopped.wait(self._fallback_every_s):
            try:
                self._fallback_drain()
                failures = 0
            except UNAVAILABLE as error:
                log.debug("the fallback drain cannot reach Redis", error=type(error).__name__)
            except Exception:  # the next round tries again
                failures += 1
                log.exception("the fallback drain failed", failures=failures)

    def check(self) -> None:
        """End the process if messages wait, this worker has room, and nothing has happened.

        While the broker is away no worker can work, so none is stuck.
        """
        try:
            messages = self._messages()
        except Exception as error:  # noqa: BLE001 - whatever the broker's client raises
            self.progress()
            log.debug("the watchdog cannot reach the broker", error=type(error).__name__)
            return
        if not messages or self._running >= self._app.conf.worker_concurrency:
            self.progress()
        elif self.idle_s > STUCK_AFTER_S:
            log.error("messages wait and this worker takes none: ending it", messages=messages)
            logging.shutdown()
            self._end(EXIT_STUCK)

    def _messages(self) -> int:
        options = {**self._app.conf.broker_transport_options, "socket_timeout": 5}
        with self._app.connection_for_read(transport_options=options) as connection:
            return queued_messages(connection, self._app.conf.task_default_queue)


def drain_overdue(runtime: Runtime, after_s: float = OVERDUE_AFTER_S) -> None:
    """Deliver what is ready here and now, without a message, one batch after another.

    It starts ``after_s``, and at least three tick intervals, after any process's last tick, and
    delivers for as long again, also what was claimed and not begun: a broker that crashed may have
    lost those messages. Trouble with one destination does not keep the others waiting.
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
    parts.drain.tick(unbegun=True)
    end = time.monotonic() + for_s  # from now: a silent broker took its time
    parts.deliverer.run_ready(is_over=lambda: time.monotonic() >= end)
