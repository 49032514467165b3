"""A worker process: its runtime and watchdog, and what runs at its start and on SIGTERM."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from celery import signals

from ..buffer.claims import Claim
from ..delivery.drain import Dispatch
from ..settings.destination import Destination
from ..settings.settings import Settings
from . import app
from .runtime import Runtime
from .shutdown import ShutdownDeadline
from .watchdog import Watchdog, drain_overdue


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
