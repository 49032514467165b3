"""The counts as people read them: a table with remarks, a line, a balance, and what is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from worker.buffer.status import DestinationStatus, KindCounts

from ..console.terminal import plain_table

_NARROW = 100

_Count = Callable[[KindCounts], int]


def _total(name: str) -> _Count:
    return lambda counts: counts.totals[name]


# Where records are, or what happened to them: the number, and its style in the table.
_PLACES: Mapping[str, tuple[_Count, str]] = {
    "accepted": (_total("accepted"), ""),
    "buffered": (attrgetter("buffered"), "yellow"),
    "in flight": (attrgetter("in_flight"), "yellow"),
    "retrying": (attrgetter("retrying"), "yellow"),
    "delivered": (_total("delivered"), "green"),
    "dead": (attrgetter("dead"), "red"),
}
_RARE = {name: (_total(name), "") for name in ("purged", "ambiguous", "replayed")}


def status_table(
    statuses: Mapping[str, DestinationStatus], width: int, now_ms: int | None = None
) -> RenderableType:
    """Return the table, with remarks below it; ``now_ms`` is the time in epoch milliseconds.

    ``width`` is the console's, in columns: a narrow one gets fewer columns.
    """
    if not statuses:
        return Text("No destination is enabled, and nothing is in the buffer.")
    now_ms = int(time.time() * 1000) if now_ms is None else now_ms
    remarks = [Text(line, style="yellow") for line in _remarks(statuses, now_ms)]
    return Group(_table(statuses, narrow=width < _NARROW), *remarks)


def _table(statuses: Mapping[str, DestinationStatus], *, narrow: bool) -> Table:
    every = [counts for status in statuses.values() for counts in status.kinds.values()]
    columns = {**_PLACES}
    columns |= {name: each for name, each in _RARE.items() if any(map(each[0], every))}
    columns |= {} if narrow else {"requests": (_total("attempts"), "")}
    table = plain_table("Destination", "State", "Kind", collapse_padding=True)
    for name in (*columns, *(() if narrow else ("oldest wait",))):
        # A number that is cut off is wrong: without room it continues on the next line.
        heading = name.capitalize().replace(" ", "\n")
        table.add_column(heading, justify="right", overflow="fold")
    for name, status in statuses.items():
        first = (name, Text(status.state, "green" if status.state == "running" else "bold red"))
        # The kinds that were ever used, or all if none was.
        used = {kind: each for kind, each in status.kinds.items() if each.totals["accepted"]}
        for kind, counts in (used or status.kinds).items():
            cells = [_number(count(counts), style) for count, style in columns.values()]
            wait = f"{counts.oldest_wait_s:,.1f} s" if counts.buffered else "-"
            table.add_row(*first, kind, *cells, *(() if narrow else (wait,)))
            first = ("", Text())
    return table


def _number(number: int, style: str) -> Text:
    return Text(f"{number:,}", style if number else "dim")


def _remarks(statuses: Mapping[str, DestinationStatus], now_ms: int) -> Iterator[str]:
    for name, status in statuses.items():
        if status.state != "running":
            since = _ago(status.since_ms, now_ms)
            verb = "was" if since else "is"
            yield f"{name} {verb} {status.state}{since}: {status.reason or 'no reason given'}"
        # Records wait, and no worker looks after them.
        if status.silent_s(now_ms) and any(counts.open for counts in status.kinds.values()):
            ago = _ago(status.last_tick_ms, now_ms)
            looked = f"a worker last looked{ago}" if ago else "no worker has looked yet"
            yield f"{name}: records wait, and {looked}: are a worker and beat running?"
        if wrong := [kind for kind, counts in status.kinds.items() if not counts.adds_up]:
            yield f"{name}: the {', '.join(wrong)} counts do not add up to what was accepted"


def _ago(then_ms: int | None, now_ms: int) -> str:
    if then_ms is None:
        return ""
    seconds = max(0, now_ms - then_ms) // 1000
    if seconds < 120:
        return f" {seconds} s ago"
    return f" {seconds // 60} min ago" if seconds < 7200 else f" {seconds // 3600} h ago"


def counts_line(statuses: Mapping[str, DestinationStatus]) -> str:
    """Return the counts of all destinations together."""
    every = [counts for status in statuses.values() for counts in status.kinds.values()]
    return "  ".join(f"{name} {sum(map(count, every)):,}" for name, (count, _) in _PLACES.items())


def open_records(statuses: Mapping[str, DestinationStatus]) -> str:
    """Return what is still on its way, in words; empty if nothing is."""
    parts = []
    for name, status in statuses.items():
        found = [
            f"{number} {kind} {place}"
            for kind, counts in status.kinds.items()
            for place in ("buffered", "in flight", "retrying")
            if (number := _PLACES[place][0](counts))
        ]
        if found:
            stopped = "" if status.state == "running" else f" ({status.state}: {status.reason})"
            parts.append(f"{name}{stopped}: {', '.join(found)}")
    return "; ".join(parts)


def balance(statuses: Mapping[str, DestinationStatus]) -> Iterator[str]:
    """Yield accepted = delivered + dead for each used kind, then the dead letters by code."""
    codes = []
    for name, status in statuses.items():
        for kind, counts in status.kinds.items():
            if counts.totals["accepted"]:
                yield f"{name:<12} {kind:<8} {_equation(counts)}"
                by_code = sorted(status.codes.get(kind, {}).items())
                codes += [f"{name:<12} {kind:<8} {code:>12} {n:>10,}" for code, n in by_code]
    if codes:
        yield "dead letters by code (details: `ingest dlq summary`):"
        yield from codes


def _equation(counts: KindCounts) -> str:
    rare = {"purged": counts.totals["purged"], "still open": counts.open}
    parts = {"delivered": counts.totals["delivered"], "dead": counts.dead}
    parts |= {name: number for name, number in rare.items() if number}
    right = " + ".join(f"{name} {number:,}" for name, number in parts.items())
    sign = "=" if counts.adds_up else "is NOT"
    return f"accepted {counts.totals['accepted']:,} {sign} {right}"
