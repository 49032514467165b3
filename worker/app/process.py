"""A worker process: its runtime and watchdog, and what runs at its start and on SIGTERM."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Any

from celery import signals

from ..buffer.claims import Claim
from ..delivery.drain import Dispatch
from ..settings.destination import Destination
from ..settings.settings import Settings
from ..telemetry.logs import get_logger
from . import app
from .runtime import Runtime
from .watchdog import Watchdog, drain_overdue

log = get_logger(__name__)

# After SIGTERM. A request may take 20 s of it, so each settlement has at least 15 s for itself;
# with CLOSE_WITHIN_S it is well below the 45 s that a supervisor must allow.
END_WITHIN_S = 35.0
CLOSE_WITHIN_S = 3.0


class ShutdownDeadline:
    """Ends the process ``within_s`` after `begin`; one that ends earlier never notices.

    Celery waits for a silent broker without a limit: measured, 100 s after SIGTERM it still ran.
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


class ProcessRuntime:
    """Makes the runtime when it is first needed, so never before a fork; call it to get it."""

    def __init__(self, make: Callable[[], Runtime]) -> None:
        self._make = make
        self._making = threading.Lock()
        self._stop_asked = threading.Event()
        self.made: Runtime | None = None

    def __call__(self) -> Runtime:
        """Return the runtime; it is stopping if the process is."""
        with self._making:
            made = self.made = self.made or self._make()
        if self._stop_asked.is_set() and not made.stopping:
            made.stop()
        return made

    def stop(self) -> None:
        """Stop the runtime, also one that is still being made; safe in a signal handler.

        It takes no lock: a worker that was stopped while it made its runtime would wait for itself
        until it was killed (measured).
        """
        self._stop_asked.set()
        if self.made:
            self.made.stop()

    def abandon(self) -> None:
        """Close its connections without a call to Redis, which may not respond."""
        if self.made:
            self.made.abandon()


def _send_deliver(destination: Destination, claim: Claim) -> None:
    app.tasks["ingest.deliver"].apply_async(
        kwargs={
            "destination": destination.name,
            "kind": claim.kind,
            "records": claim.size,
            "attempt": claim.attempt + 1,
            "batch": claim.batch,
            "token": claim.token,
        }
    )


def _send_probe(destination: Destination) -> None:
    app.tasks["ingest.probe"].apply_async(kwargs={"destination": destination.name})


runtime = ProcessRuntime(lambda: Runtime(Settings.from_env(), Dispatch(_send_deliver, _send_probe)))
watchdog = Watchdog(app, fallback_drain=lambda: drain_overdue(runtime()))
deadline = ShutdownDeadline(runtime.abandon)


@signals.worker_init.connect
def _on_init(**_: Any) -> None:
    deadline.start()


@signals.worker_ready.connect
def _on_ready(**_: Any) -> None:
    # First the watchdog: if Redis is away now, the runtime is made once it is back.
    watchdog.start()
    runtime()


@signals.worker_shutting_down.connect
def _on_stop_signal(**_: Any) -> None:
    deadline.begin()
    runtime.stop()


@signals.worker_shutdown.connect
def _on_shutdown(**_: Any) -> None:
    watchdog.stop()
    if runtime.made:  # one never made is not made now: Redis may be away
        runtime.made.close()
