"""`ingest wait`: wait until nothing is buffered, in flight or retrying."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from .. import options
from ..exit_codes import Failure

if TYPE_CHECKING:
    from worker.buffer.status import DestinationStatus
    from worker.monitoring.overview import Overview

_POLL_S = 0.1


@click.command
@click.option(
    "--timeout",
    "timeout_s",
    type=options.Seconds(),
    metavar="S",
    help="Give up after S seconds, with exit code 1.  [default: never]",
)
@options.destination("Wait only for this destination.")
def wait(timeout_s: float | None, destination: str | None) -> None:
    """Wait until nothing is buffered, in flight or retrying. Dead letters do not count."""
    from ..clients import overview

    shown = overview(destination)
    deadline = float("inf") if timeout_s is None else time.monotonic() + timeout_s
    if left := _until_drained(shown, deadline):
        raise Failure(f"not drained after {timeout_s:g} s: {left}")


def _until_drained(overview: Overview, deadline: float) -> str:
    """Return what is left at the deadline, in words; empty if everything is settled.

    If Redis goes away meanwhile, wait until it is back or the deadline passes.
    """
    from redis.exceptions import RedisError

    left = open_records(overview.statuses())
    while left:
        if time.monotonic() >= deadline:
            return left
        time.sleep(_POLL_S)
        try:
            left = open_records(overview.statuses())
        except RedisError as error:
            left = f"Redis does not answer ({type(error).__name__})"
    return ""


def open_records(statuses: Mapping[str, DestinationStatus]) -> str:
    """Return what is still on its way, in words; empty if nothing is."""
    parts = []
    for name, status in statuses.items():
        found = [
            f"{number} {kind} {place.replace('_', ' ')}"
            for kind, counts in status.kinds.items()
            for place in ("buffered", "in_flight", "retrying")
            if (number := getattr(counts, place))
        ]
        if found:
            stopped = "" if status.state == "running" else f" ({status.state}: {status.reason})"
            parts.append(f"{name}{stopped}: {', '.join(found)}")
    return "; ".join(parts)
