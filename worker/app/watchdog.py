"""Ends a worker that is alive and does nothing, so that its supervisor starts another.

A connection to the broker that was cut without a word looks idle for ever to the worker that waits
on it. The watchdog asks the broker on a connection of its own: when messages have waited while this
worker was idle, for longer than anything explains, it ends the process with EX_SOFTWARE.

It also stands in for a beat that is dead, and for a broker that takes no messages: whoever made it
says what is to be done then. So both cost latency, and nothing else.
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
from ..settings.celery_processes import ProcessSettings
from ..telemetry.logs import get_logger
from .scheduler import waiting

log = get_logger(__name__)

EXIT_STUCK = 70  # EX_SOFTWARE of sysexits.h
LOOK_EVERY_S = 2.5
STUCK_AFTER_S = 20.0
STAND_IN_EVERY_S = 5.0
# Redis or the broker is away: that passes by itself. Whatever else is raised is a mistake.
AWAY = (*TRANSIENT, *UNSETTLED, OperationalError)


class Watchdog:
    """Looks every few seconds, on a thread of its own, from `start` to `stop`.

    ``stand_in`` is called now and then on another one: it does what nobody asked for in time.
    """

    def __init__(
        self,
        app: Celery,
        *,
        stand_in: Callable[[], object] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        end: Callable[[int], Any] = os._exit,
    ) -> None:
        self._app = app
        self._stand_in = stand_in
        self._clock = clock
        self._end = end
        self._stopped = threading.Event()
        self._started = False
        self._running = 0
        self._heartbeat = ""
        self._lock = threading.Lock()
        self._last_progress = clock()

    def start(self) -> None:
        """Begin to look; Celery calls it again whenever it has connected anew."""
        if self._started:
            return
        self._started = True
        self._heartbeat = ProcessSettings.from_env().heartbeat_path
        signals.task_prerun.connect(self._begun, weak=False)
        signals.task_postrun.connect(self._ended, weak=False)
        self._last_progress = self._clock()
        for target, name in ((self._watch, "watchdog"), (self._stand_in_for_beat, "stand-in")):
            threading.Thread(target=target, name=name, daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._stopped.set()

    def progress(self) -> None:
        """Note that work was done."""
        self._last_progress = self._clock()

    def _begun(self, **_: Any) -> None:
        with self._lock:
            self._running += 1
        self.progress()

    def _ended(self, **_: Any) -> None:
        with self._lock:
            self._running -= 1
        self.progress()

    def _watch(self) -> None:
        self._beat()
        while not self._stopped.wait(LOOK_EVERY_S):
            self._beat()
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 - the broker is away: nobody could work, so nobody is stuck
                self.progress()
                log.debug("the watchdog cannot see the broker", error=type(error).__name__)

    def _beat(self) -> None:
        """Touch the heartbeat file: once it is old, not even this thread runs."""
        if self._heartbeat:
            try:
                Path(self._heartbeat).touch()
            except OSError as error:
                log.warning("the heartbeat file cannot be written", error=error.strerror)

    def _stand_in_for_beat(self) -> None:
        failures = 0
        while not self._stopped.wait(STAND_IN_EVERY_S):
            try:
                self._stand_in()
                failures = 0
            except AWAY as error:
                log.debug("the watchdog cannot stand in", error=type(error).__name__)
            except Exception:  # the next round tries again
                failures += 1
                log.exception("the watchdog failed to stand in", failures=failures)

    def look(self) -> None:
        """End the process if messages wait, this worker has room, and long nothing has happened."""
        with self._app.connection_for_read(transport_options=self._options()) as connection:
            messages = waiting(connection, self._app.conf.task_default_queue)
        busy = self._running >= self._app.conf.worker_concurrency
        if not messages or busy:
            self.progress()
        elif self._clock() - self._last_progress > STUCK_AFTER_S:
            log.error("messages wait and this worker takes none: ending it", messages=messages)
            logging.shutdown()
            self._end(EXIT_STUCK)

    def _options(self) -> dict[str, Any]:
        return {**self._app.conf.broker_transport_options, "socket_timeout": 5}
