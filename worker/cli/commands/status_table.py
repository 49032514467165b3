"""The counts as people read them: a table with remarks, one line, and the final balance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from worker.buffer.status import DestinationStatus, KindCounts

from ..console.terminal import plain_table

_NARROW = 100
_LEFT_OUT = ("Requests", "Oldest\nwait")

_Column = tuple[str, Callable[[KindCounts], Text]]


def status_table(
    statuses: Mapping[str, DestinationStatus], *, now_ms: int, width: int = 200
) -> RenderableType:
    """Return the table, with remarks below it; ``now_ms`` is the time in epoch milliseconds.

    ``width`` is the console's, in columns: a narrow one gets fewer columns.
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
        # A number that is cut off is wrong: without room it continues on the next line.
        table.add_column(heading, justify="right", overflow="fold")
    for name, status in statuses.items():
        first = (Text(name), _state(status))
        for kind, counts in _used_kinds(status.kinds).items():
            table.add_row(*first, kind, *(cell(counts) for _, cell in columns))
            first = (Text(), Text())
    return table


def _columns(shown: Sequence[KindCounts]) -> list[_Column]:
    """Return the columns of a kind; rare events have one only if they occurred."""
    rare = ("purged", "ambiguous", "replayed")
    occurred = [name for name in rare if any(counts.totals[name] for counts in shown)]
    return [
        ("Accepted", lambda counts: _number(counts.totals["accepted"])),
        ("Buffered", lambda counts: _number(counts.buffered, "yellow")),
        ("In\nflight", lambda counts: _number(counts.in_flight, "yellow")),
        ("Retrying", lambda counts: _number(counts.retrying, "yellow")),
        ("Delivered", lambda counts: _number(counts.totals["delivered"], "green")),
        ("Dead", lambda counts: _number(counts.dead, "red")),
        *((name.capitalize(), _total(name)) for name in occurred),
        ("Requests", _total("attempts")),
        ("Oldest\nwait", lambda counts: Text(_wait(counts))),
    ]


def _total(name: str) -> Callable[[KindCounts], Text]:
    return lambda counts: _number(counts.totals[name])


def _wait(counts: KindCounts) -> str:
    return f"{counts.oldest_wait_s:,.1f} s" if counts.buffered else "-"


def _used_kinds(kinds: Mapping[str, KindCounts]) -> Mapping[str, KindCounts]:
    """Return the kinds that were ever used, or all if none was."""
    return {kind: each for kind, each in kinds.items() if each.totals["accepted"]} or kinds


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
            yield f"{name} {verb} {status.state}{since}: {status.reason or 'no reason given'}"
        if silent := _silence(status, now_ms):
            yield f"{name}: {silent}"
        if wrong := [kind for kind, counts in status.kinds.items() if not counts.adds_up]:
            yield f"{name}: the {', '.join(wrong)} counts do not add up to what was accepted"


def _silence(status: DestinationStatus, now_ms: int) -> str:
    """Return a remark if records wait and no worker looks after them."""
    if not any(counts.open for counts in status.kinds.values()):
        return ""
    if status.last_tick_ms is None:
        return "records wait, and no worker has looked yet: are a worker and beat running?"
    if status.silent_s(now_ms):
        ago = _ago(status.last_tick_ms, now_ms)
        return f"records wait, and a worker last looked{ago}: are a worker and beat running?"
    return ""


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
    numbers = {
        "accepted": sum(counts.totals["accepted"] for counts in every),
        "buffered": sum(counts.buffered for counts in every),
        "in flight": sum(counts.in_flight for counts in every),
        "retrying": sum(counts.retrying for counts in every),
        "delivered": sum(counts.totals["delivered"] for counts in every),
        "dead": sum(counts.dead for counts in every),
    }
    return "  ".join(f"{name} {number:,}" for name, number in numbers.items())


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
    purged, still_open = counts.totals["purged"], counts.open
    parts = {"delivered": counts.totals["delivered"], "dead": counts.dead}
    parts |= {"purged": purged} if purged else {}
    parts |= {"still open": still_open} if still_open else {}
    right = " + ".join(f"{name} {number:,}" for name, number in parts.items())
    sign = "=" if counts.adds_up else "is NOT"
    return f"accepted {counts.totals['accepted']:,} {sign} {right}"
