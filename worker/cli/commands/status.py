"""`ingest status`: where every record is, once or again and again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import click

from .. import options

if TYPE_CHECKING:
    from worker.buffer.status import DestinationStatus
    from worker.monitoring.overview import Overview

_EVERY_S = 1.0


@click.command
@options.as_json("One JSON object instead of a table.")
@click.option("--watch", is_flag=True, help="Go on showing it, every second, until Ctrl-C.")
@options.destination("Show this one alone.")
def status(as_json: bool, watch: bool, destination: str | None) -> None:
    """Show where every record is, and the totals since the beginning.

    Always: accepted = buffered + in flight + retrying + delivered + dead + purged. Shown are the
    destinations that are delivered to, and those that still hold records.
    """
    from ..clients import overview

    shown = overview(destination)
    if not watch:
        _print_once(shown.statuses(), as_json)
        return
    try:
        _watch(shown, as_json)
    except KeyboardInterrupt:
        click.get_current_context().exit(0)


def _print_once(statuses: Mapping[str, DestinationStatus], as_json: bool) -> None:
    from worker.monitoring.overview import as_json as shape

    from ..console.terminal import standard_output
    from .status_table import shown

    if as_json:
        click.echo(json.dumps(shape(statuses)))
    else:
        console = standard_output()
        console.print(shown(statuses, now_ms=_now_ms(), width=console.width))


def _watch(overview: Overview, as_json: bool) -> None:
    """Show it every second: in place on a terminal, else one after the other."""
    from ..console.terminal import standard_output
    from .query_options import say
    from .status_table import shown

    console = standard_output()
    statuses: Mapping[str, DestinationStatus] = overview.statuses()
    if as_json or not console.is_terminal:
        while True:
            _print_once(statuses, as_json)
            statuses = _next(overview, say)
    from rich.live import Live

    with Live(console=console, auto_refresh=False) as live:
        while True:
            table = shown(statuses, now_ms=_now_ms(), width=console.width)
            live.update(table, refresh=True)
            statuses = _next(overview, live.console.print)


def _next(overview: Overview, say: Callable[[str], object]) -> Mapping[str, DestinationStatus]:
    """What there is a second later. A Redis that went away is waited for: that is when people
    watch; it is told once, and so is its return."""
    from redis.exceptions import RedisError

    from ..redis_errors import in_words

    away = False
    while True:
        time.sleep(_EVERY_S)
        try:
            statuses = overview.statuses()
        except RedisError as error:
            if not away:
                say(f"Redis: {in_words(error)}; waiting for it")
            away = True
            continue
        if away:
            say("Redis answers again")
        return statuses


def _now_ms() -> int:
    return int(time.time() * 1000)
