"""The Celery tasks: thin doors. Their arguments and results are what Flower shows of our work, so
they name destination, kind and numbers, and never a record or a secret."""

from __future__ import annotations

import threading
import time
from dataclasses import asdict
from functools import cache
from typing import Any

from celery import signals

from .app import app
from .bootstrap import Runtime
from .buffer import Claim
from .drain import Ask
from .settings import Destination, Settings
from .telemetry import get_logger
from .watchdog import Watchdog

log = get_logger(__name__)

# A delivery goes on with the next batch as long as there is one, for so long; then another task
# goes on in its place, so that Flower and the other kinds see something happen.
RUN_S = 2.0


def _ask_deliver(destination: Destination, claim: Claim) -> None:
    deliver.apply_async(
        kwargs={
            "destination": destination.name,
            "kind": claim.kind,
            "records": claim.size,
            "attempt": claim.attempt + 1,
            "batch": claim.batch,
            "token": claim.token,
        }
    )


def _ask_probe(destination: Destination) -> None:
    probe.apply_async(kwargs={"destination": destination.name})


_lock = threading.Lock()


@cache
def _made() -> Runtime:
    return Runtime(Settings.from_env(), Ask(_ask_deliver, _ask_probe))


def runtime() -> Runtime:
    """Make this process' parts when they are first needed, so never before a fork."""
    with _lock:
        return _made()


@app.task(name="ingest.drain")
def drain() -> dict[str, int]:
    """Tick every destination; returns the number of deliveries asked for, by destination."""
    asked = {}
    for name, line in runtime().lines.items():
        try:
            asked[name] = line.drain.tick()
        except Exception:  # one destination's trouble is not another's; the next tick tries again
            log.exception("a tick failed", destination=name)
            asked[name] = 0
    return asked


@app.task(name="ingest.deliver")
def deliver(*, destination: str, batch: str, token: str, **_shown: Any) -> dict[str, Any]:
    """Deliver a batch, and what is ready after it; returns what became of the records.

    The other arguments (kind, records, attempt) are for people who look at Flower.
    """
    line = runtime().lines.get(destination)
    if line is None:
        return {"destination": destination, "answer": "not a destination of this worker"}
    end = time.monotonic() + RUN_S
    done = line.deliverer.run(batch, token, until=lambda: time.monotonic() >= end)
    watchdog.progress()
    if done.batches and not runtime().stopping:
        line.drain.fill()
    return asdict(done)


@app.task(name="ingest.probe")
def probe(*, destination: str) -> dict[str, Any]:
    """Ask a vendor that refused us whether it takes us again."""
    line = runtime().lines.get(destination)
    return {"destination": destination, "passed": line.deliverer.probe() if line else False}


watchdog = Watchdog(app)


@signals.worker_ready.connect
def _start(**_: Any) -> None:
    runtime()
    watchdog.start()


@signals.worker_shutting_down.connect
def _stop(**_: Any) -> None:
    runtime().stop()


@signals.worker_shutdown.connect
def _close(**_: Any) -> None:
    watchdog.stop()
    runtime().close()
