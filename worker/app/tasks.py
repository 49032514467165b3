"""The Celery tasks. Their arguments and results are what Flower shows of our work, so they name
destination, kind and numbers, and never a record or a secret."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import Stopped, VendorError
from ..readback.client import reading
from ..readback.export_file import ExportTarget, export_to_file
from ..readback.formats import format_of
from ..readback.queries import LARGEST_BATCH, ExportQuery, day_number
from ..readback.reconcile import Reconciler
from ..settings.destination import Destination
from ..telemetry.logs import get_logger
from . import app
from .process import runtime, watchdog

log = get_logger(__name__)

# A task delivers one batch after another for this long; then another task takes over, so that
# Flower shows progress and the other kinds get their turn.
RUN_S = 2.0
STOP_CHECK_EVERY_S = 0.5  # of a task that waits


@app.task(name="ingest.drain")
def drain() -> dict[str, int]:
    """Tick every destination; return the number of deliveries started, by destination."""
    started = {}
    for name, parts in runtime().destinations.items():
        try:
            started[name] = parts.drain.tick()
        except Exception:  # one destination's trouble is not another's; the next tick tries again
            log.exception("a tick failed", destination=name)
            started[name] = 0
    return started


@app.task(name="ingest.deliver")
def deliver(*, destination: str, batch: str, token: str, **_shown: Any) -> dict[str, Any]:
    """Deliver a batch, and what is ready after it; return what became of the records.

    The other arguments (kind, records, attempt) are for people who look at Flower.
    """
    parts = runtime().destinations.get(destination)
    if parts is None:
        return {"destination": destination, "answer": "not a destination of this worker"}
    end = time.monotonic() + RUN_S
    done = parts.deliverer.run(batch, token, is_over=lambda: time.monotonic() >= end)
    watchdog.progress()
    if done.batches and not runtime().stopping:
        parts.drain.dispatch_ready()
    return asdict(done)


@app.task(name="ingest.probe")
def probe(*, destination: str) -> dict[str, Any]:
    """Check whether a vendor that refused us accepts us again."""
    parts = runtime().destinations.get(destination)
    return {"destination": destination, "passed": parts.deliverer.probe() if parts else False}


def _sleep(seconds: float) -> None:
    """Wait, but raise Stopped once this process is asked to stop."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if runtime().stopping:
            raise Stopped("the worker stops; start the task again to go on")
        time.sleep(min(left, STOP_CHECK_EVERY_S))


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
    """Export to a file on this worker's machine, or resume that, as `ingest export` does.

    It may run for hours. A worker that stops or dies leaves the file as it is; started again with
    the same arguments, the task resumes. Return the events and bytes of the file.
    """
    days = day_number(first), day_number(last)
    query = ExportQuery(event, *days, batch_size, app=app, profile=profile, events=events)
    target = ExportTarget(Path(path), format_of(Path(path), form))
    with reading(runtime().settings.destination(destination), sleep=_sleep) as reader:
        done = export_to_file(
            reader,
            query,
            target,
            restart=restart,
            say=lambda text: log.info("export", text=text, destination=destination, file=path),
            stopping=lambda: runtime().stopping,
        )
    return asdict(done)


@app.task(name="ingest.reconcile")
def reconcile(*, destination: str | None = None, day: str | None = None) -> dict[str, int]:
    """Compare our deliveries with the vendors' counts; return the differences by destination.

    Without a destination, all that can be read back. -1 means that the vendor gave no counts.
    """
    found = {}
    for each in runtime().settings.enabled():
        if destination in (None, each.name) and each.account.has_read_back:
            found[each.name] = _reconcile(each, day)
    return found


def _reconcile(destination: Destination, day: str | None) -> int:
    try:
        with reading(destination, sleep=_sleep) as reader:
            result = Reconciler(reader, runtime().client).run(day)
    except VendorError as error:
        log.error("could not reconcile", destination=destination.name, error=str(error))  # noqa: TRY400
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
