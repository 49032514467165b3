"""`ingest status` and `ingest wait`: where the records are, and a wait until they are settled."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
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

_Statuses = Mapping[str, DestinationStatus]
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
    from redis.exceptions import RedisError

    shown = overview(destination)
    deadline = float("inf") if timeout_s is None else time.monotonic() + timeout_s
    left = open_records(shown.statuses())
    while left:
        if time.monotonic() >= deadline:
            raise Failure(f"not drained after {timeout_s:g} s: {left}")
        time.sleep(_POLL_S)
        try:
            left = open_records(shown.statuses())
        except RedisError as error:  # it may be back before the deadline
            left = f"Redis does not answer ({type(error).__name__})"


def _print(statuses: _Statuses, as_json: bool) -> None:
    from worker.monitoring.overview import as_json as shape

    if as_json:
        click.echo(json.dumps(shape(statuses)))
    else:
        console = terminal()
        console.print(status_table(statuses, console.width))


def _watch(shown: Overview, as_json: bool) -> None:
    """Show it every second: in place on a terminal, else one below the other."""
    console = terminal()
    first = shown.statuses()
    if as_json or not console.is_terminal:
        for statuses in _every_second(shown, first, partial(click.echo, err=True)):
            _print(statuses, as_json)
    with Live(console=console, auto_refresh=False) as live:
        for statuses in _every_second(shown, first, console.print):
            live.update(status_table(statuses, console.width), refresh=True)


def _every_second(
    shown: Overview, statuses: _Statuses, say: Callable[[str], object]
) -> Iterator[_Statuses]:
    """Yield these statuses, and new ones every second.

    If Redis is away, which is when people watch, say so once, wait for it, and say when it is back.
    """
    from redis.exceptions import RedisError

    away = False
    yield statuses
    while True:
        time.sleep(_EVERY_S)
        try:
            statuses = shown.statuses()
        except RedisError as error:
            if not away:
                say(f"Redis: {describe_redis_error(error)}; waiting for it")
            away = True
            continue
        if away:
            say("Redis answers again")
        away = False
        yield statuses
