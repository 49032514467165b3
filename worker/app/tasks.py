"""The Celery tasks: thin doors. Their arguments and results are what Flower shows of our work, so
they name destination, kind and numbers, and never a record or a secret."""

from __future__ import annotations

import threading
import time
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from celery import signals

from ..buffer.claims import Claim
from ..delivery.drain import Dispatch
from ..errors import Stopped, VendorError
from ..readback.client import reading
from ..readback.export_file import Target, export_to_file
from ..readback.formats import format_of
from ..readback.queries import LARGEST_BATCH, ExportQuery, day_number
from ..readback.reconcile import Reconciler
from ..settings.destination import Destination
from ..settings.settings import Settings
from ..telemetry.logs import get_logger
from . import app
from .runtime import DestinationRuntime, Runtime
from .shutdown import ShutdownDeadline
from .watchdog import AWAY, Watchdog

log = get_logger(__name__)

# A delivery goes on with the next batch as long as there is one, for so long; then another task
# goes on in its place, so that Flower and the other kinds see something happen.
RUN_S = 2.0
# Without a tick for so long, a worker ticks by itself.
STAND_IN_AFTER_S = 15.0
NAP_S = 0.5  # a waiting task looks so often whether its worker is told to stop


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
_stop_asked = threading.Event()


@cache
def _made() -> Runtime:
    return Runtime(Settings.from_env(), Dispatch(_ask_deliver, _ask_probe))


def runtime() -> Runtime:
    """Make this process' parts when they are first needed, so never before a fork."""
    with _lock:
        made = _made()
    if _stop_asked.is_set() and not made.stopping:
        made.stop()
    return made


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
    done = line.deliverer.run(batch, token, is_over=lambda: time.monotonic() >= end)
    watchdog.progress()
    if done.batches and not runtime().stopping:
        line.drain.dispatch_ready()
    return asdict(done)


@app.task(name="ingest.probe")
def probe(*, destination: str) -> dict[str, Any]:
    """Ask a vendor that refused us whether it takes us again."""
    line = runtime().lines.get(destination)
    return {"destination": destination, "passed": line.deliverer.probe() if line else False}


def _nap(seconds: float) -> None:
    """Wait, but not longer than this process is to live."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if runtime().stopping:
            raise Stopped("the worker stops; the task may be asked for again")
        time.sleep(min(left, NAP_S))


@app.task(name="ingest.export")
def export(
    *,
    destination: str,
    event: str,
    first: str,
    last: str,
    path: str,
    form: str | None = None,
    restart: bool = False,
    batch_size: int = LARGEST_BATCH,
    app: bool | None = None,
    profile: bool | None = None,
    events: bool | None = None,
) -> dict[str, Any]:
    """Export to a file on this worker's machine, or go on with it; as `ingest export` does.

    It may run for hours. A worker that is stopped or dies leaves it as it is: asked for once more,
    with the same arguments, it goes on. Returns the events and bytes of the file.
    """
    days = day_number(first), day_number(last)
    query = ExportQuery(event, *days, batch_size, app=app, profile=profile, events=events)
    target = Target(Path(path), format_of(Path(path), form))
    with reading(runtime().settings.destination(destination), sleep=_nap) as reader:
        done = export_to_file(
            reader,
            query,
            target,
            restart=restart,
            say=lambda text: log.info(text, destination=destination, file=path),
            stopping=lambda: runtime().stopping,
        )
    return asdict(done)


@app.task(name="ingest.reconcile")
def reconcile(*, destination: str | None = None, day: str | None = None) -> dict[str, int]:
    """Compare our deliveries with the vendors' counts; returns the differences by destination.

    Without a destination: every one that can be read back. -1: the vendor did not tell.
    """
    found = {}
    for each in runtime().settings.enabled():
        if destination in (None, each.name) and each.account.has_read_back:
            found[each.name] = _reconcile(each, day)
    return found


def _reconcile(destination: Destination, day: str | None) -> int:
    try:
        with reading(destination, sleep=_nap) as reader:
            result = Reconciler(reader, runtime().client).run(day)
    except VendorError as error:
        log.error("not reconciled", destination=destination.name, error=str(error))  # noqa: TRY400
        return -1
    for line in result.differences:
        log.warning(
            "delivered and counted differ",
            destination=destination.name,
            day=line.day,
            event_name=line.event,
            delivered=line.delivered,
            counted=line.counted,
            note=line.note,
        )
    return len(result.differences)


def _stand_in() -> None:
    """Drain where nobody has ticked for long: no beat runs, or the broker takes no messages.

    What is ready is delivered here and now, without a message, one batch after another.
    """
    for name, line in runtime().lines.items():
        try:
            _stand_in_for(line)
        except AWAY as error:  # one destination's trouble is not another's
            log.warning("could not drain", destination=name, error=type(error).__name__)
        except Exception:
            log.exception("could not drain", destination=name)


def _stand_in_for(line: DestinationRuntime) -> None:
    patience_s = max(STAND_IN_AFTER_S, 3 * runtime().settings.drain_interval_s)
    if runtime().stopping or line.buffer.seconds_since_tick() < patience_s:
        return
    name = line.destination.name
    log.warning("nobody has ticked for long: this worker drains by itself", destination=name)
    line.drain.tick()
    end = time.monotonic() + STAND_IN_AFTER_S  # from now: a broker that is silent took its time
    line.deliverer.run_ready(is_over=lambda: time.monotonic() >= end)


def _abandon() -> None:
    if _made.cache_info().currsize:
        _made().abandon()


watchdog = Watchdog(app, stand_in=_stand_in)
ending = ShutdownDeadline(_abandon)


@signals.worker_init.connect
def _expect_the_end(**_: Any) -> None:
    ending.start()


@signals.worker_ready.connect
def _start(**_: Any) -> None:
    # First: should Redis be away just now, the rest is made when it is back.
    watchdog.start()
    runtime()


@signals.worker_shutting_down.connect
def _stop(**_: Any) -> None:
    """Runs in a signal handler, perhaps in the midst of `runtime`: it must not wait for its lock.

    Measured: a worker told to stop while it made its parts waited for itself until it was killed.
    """
    _stop_asked.set()
    ending.begin()
    if _made.cache_info().currsize:
        _made().stop()


@signals.worker_shutdown.connect
def _close(**_: Any) -> None:
    watchdog.stop()
    if _made.cache_info().currsize:  # not made now, should it never have been: Redis may be away
        _made().close()
