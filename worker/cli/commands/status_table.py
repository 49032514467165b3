"""The places of records as people read them: a table, and a line for whatever needs attention."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from worker.buffer.status import DestinationStatus, KindCounts

from ..console.terminal import plain_table

# The drain ticks every second, and the watchdog in its place when no beat does.
_SILENT_AFTER_S = 30.0
_NARROW = 100
_LEFT_OUT = ("Requests", "Oldest\nwait")

_Column = tuple[str, Callable[[KindCounts], Text]]


def shown(
    statuses: Mapping[str, DestinationStatus], *, now_ms: int, width: int = 200
) -> RenderableType:
    """The table, and remarks below it; ``now_ms`` is the time in epoch milliseconds.

    ``width`` is the console's, in columns: what matters less is left out of a narrow one.
    """
    if not statuses:
        return Text("No destination is enabled, and nothing is in the buffer.")
    remarks = [Text(line, style="yellow") for line in _remarks(statuses, now_ms)]
    return Group(_table(statuses, narrow=width < _NARROW), *remarks)


def _table(statuses: Mapping[str, DestinationStatus], *, narrow: bool) -> Table:
    columns = _columns([each for status in statuses.values() for each in status.kinds.values()])
    if narrow:
        columns = [each for each in columns if each[0] not in _LEFT_OUT]
    table = plain_table("Destination", "State", "Kind", collapse_padding=True)
    for heading, _ in columns:
        # A number that is cut is a wrong one: where there is no room it goes on below.
        table.add_column(heading, justify="right", overflow="fold")
    for name, status in statuses.items():
        first = (Text(name), _state(status))
        for kind, places in _worth_a_row(status).items():
            table.add_row(*first, kind, *(cell(places) for _, cell in columns))
            first = (Text(), Text())
    return table


def _columns(shown: Sequence[KindCounts]) -> list[_Column]:
    """What is shown of each kind; what seldom happens, only when it did."""
    seldom = ("purged", "ambiguous", "replayed")
    happened = [name for name in seldom if any(places.totals[name] for places in shown)]
    return [
        ("Accepted", lambda places: _number(places.totals["accepted"])),
        ("Buffered", lambda places: _number(places.buffered, "yellow")),
        ("In\nflight", lambda places: _number(places.in_flight, "yellow")),
        ("Retrying", lambda places: _number(places.retrying, "yellow")),
        ("Delivered", lambda places: _number(places.totals["delivered"], "green")),
        ("Dead", lambda places: _number(places.dead, "red")),
        *((name.capitalize(), _total(name)) for name in happened),
        ("Requests", _total("attempts")),
        ("Oldest\nwait", lambda places: Text(_wait(places))),
    ]


def _total(name: str) -> Callable[[KindCounts], Text]:
    return lambda places: _number(places.totals[name])


def _wait(places: KindCounts) -> str:
    return f"{places.oldest_wait_s:,.1f} s" if places.buffered else "-"


def _worth_a_row(status: DestinationStatus) -> Mapping[str, KindCounts]:
    """The kinds that were ever used; all of them when none was."""
    used = {kind: each for kind, each in status.kinds.items() if each.totals["accepted"]}
    return used or status.kinds


def _state(status: DestinationStatus) -> Text:
    style = "green" if status.state == "running" else "bold red"
    return Text(status.state, style=style)


def _number(number: int, style: str = "") -> Text:
    return Text(f"{number:,}", style=style if number else "dim")


def _remarks(statuses: Mapping[str, DestinationStatus], now_ms: int) -> Iterator[str]:
    for name, status in statuses.items():
        if status.state != "running":
            since = _ago(status.since_ms, now_ms)
            verb = "was" if since else "is"
            yield f"{name} {verb} {status.state}{since}: {status.reason or 'no reason was given'}"
        if silent := _silence(status, now_ms):
            yield f"{name}: {silent}"
        if wrong := [kind for kind, places in status.kinds.items() if not places.adds_up]:
            yield f"{name}: the places of {', '.join(wrong)} do not add up to what was accepted"


def _silence(status: DestinationStatus, now_ms: int) -> str:
    """What to say when records wait and nothing looks after them."""
    if not any(places.open for places in status.kinds.values()):
        return ""
    if status.last_tick_ms is None:
        return "records wait, and no worker has looked yet: do a worker and a beat run?"
    if now_ms - status.last_tick_ms > _SILENT_AFTER_S * 1000:
        ago = _ago(status.last_tick_ms, now_ms)
        return f"records wait, and the last worker to look did so{ago}: do a worker and a beat run?"
    return ""


def _ago(then_ms: int | None, now_ms: int) -> str:
    if then_ms is None:
        return ""
    seconds = max(0, now_ms - then_ms) // 1000
    if seconds < 120:
        return f" {seconds} s ago"
    return f" {seconds // 60} min ago" if seconds < 7200 else f" {seconds // 3600} h ago"
