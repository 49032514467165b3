"""`ingest status`: where the records are, once or every second."""

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
from .status_table import status_table

if TYPE_CHECKING:
    from worker.monitoring.overview import Overview

_EVERY_S = 1.0


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
