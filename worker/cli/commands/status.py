"""`ingest status` and `ingest wait`: where the records are, and a wait until they are settled."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

import click
from rich.live import Live

from worker.buffer.status import DestinationStatus

from .. import options
from ..clients import describe_redis_error, overview
from ..console.terminal import terminal
from ..exit_codes import Failure
from .status_table import open_records, status_table

if TYPE_CHECKING:
    from worker.monitoring.overview import Overview

_EVERY_S = 1.0
_POLL_S = 0.1  # while waiting


@click.command
@options.as_json("Print one JSON object instead of a table.")
@click.option("--watch", is_flag=True, help="Refresh every second until Ctrl-C.")
@options.destination("Show only this destination.")
def status(as_json: bool, watch: bool, destination: str | None) -> None:
    """Show where the records are, and the totals since the beginning.

    Always: accepted = buffered + in flight + retrying + delivered + dead + purged. Lists the
    enabled destinations, and those that still hold records.
    """
    shown = overview(destination)
    if not watch:
        _print(shown.statuses(), as_json)
        return
    try:
        _watch(shown, as_json)
    except KeyboardInterrupt:
        click.get_current_context().exit(0)


@click.command
@options.timeout("Give up after S seconds, with exit code 1.  [default: never]")
@options.destination("Wait only for this destination.")
def wait(timeout_s: float | None, destination: str | None) -> None:
    """Wait until nothing is buffered, in flight or retrying. Dead letters do not count."""
    shown = overview(destination)
    deadline = float("inf") if timeout_s is None else time.monotonic() + timeout_s
    if left := _until_drained(shown, deadline):
        raise Failure(f"not drained after {timeout_s:g} s: {left}")


def _print(statuses: Mapping[str, DestinationStatus], as_json: bool) -> None:
    from worker.monitoring.overview import as_json as shape

    if as_json:
        click.echo(json.dumps(shape(statuses)))
    else:
        console = terminal()
        console.print(status_table(statuses, console.width))


def _watch(shown: Overview, as_json: bool) -> None:
    """Show it every second: in place on a terminal, else one below the other."""
    console = terminal()
    statuses: Mapping[str, DestinationStatus] = shown.statuses()
    if as_json or not console.is_terminal:
        while True:
            _print(statuses, as_json)
            statuses = _next(shown, partial(click.echo, err=True))
    with Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(status_table(statuses, console.width), refresh=True)
            statuses = _next(shown, live.console.print)


def _next(shown: Overview, say: Callable[[str], object]) -> Mapping[str, DestinationStatus]:
    """Return the statuses a second later.

    If Redis is away, which is when people watch, say so once, wait for it, and say when it is back.
    """
    from redis.exceptions import RedisError

    away = False
    while True:
        time.sleep(_EVERY_S)
        try:
            statuses = shown.statuses()
        except RedisError as error:
            if not away:
                say(f"Redis: {describe_redis_error(error)}; waiting for it")
            away = True
        else:
            if away:
                say("Redis answers again")
            return statuses


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
