"""`ingest wait`: wait until nothing is buffered, in flight or retrying."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from .. import options
from ..clients import overview
from ..exit_codes import Failure
from .status_table import open_records

if TYPE_CHECKING:
    from worker.monitoring.overview import Overview

_POLL_S = 0.1


@click.command
@options.timeout("Give up after S seconds, with exit code 1.  [default: never]")
@options.destination("Wait only for this destination.")
def wait(timeout_s: float | None, destination: str | None) -> None:
    """Wait until nothing is buffered, in flight or retrying. Dead letters do not count."""
    shown = overview(destination)
    deadline = float("inf") if timeout_s is None else time.monotonic() + timeout_s
    if left := _until_drained(shown, deadline):
        raise Failure(f"not drained after {timeout_s:g} s: {left}")


def _until_drained(shown: Overview, deadline: float) -> str:
    """Return what is left at the deadline, in words; empty if everything is settled.

    If Redis goes away meanwhile, wait until it is back or the deadline passes.
    """
    from redis.exceptions import RedisError

    left = open_records(shown.statuses())
    while left and time.monotonic() < deadline:
        time.sleep(_POLL_S)
        try:
            left = open_records(shown.statuses())
        except RedisError as error:
            left = f"Redis does not answer ({type(error).__name__})"
    return left
