"""The printed results: one table per section, and the targets."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from benchmarks import drain, enqueue
from benchmarks.results import Results, Series
from benchmarks.targets import Target

# The base of each section; other rates are multiples of it.
BASES = {drain.SECTION: drain.FLOOR, enqueue.SECTION: enqueue.RPUSH}


def number(value: float) -> str:
    """Format with three significant figures."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.3g}"


def show(results: Results, targets: list[Target], console: Console) -> None:
    """Print everything."""
    console.print(", ".join(f"{name}: {value}" for name, value in results.facts.items()))
    for section in dict.fromkeys(section for section, _ in results.series):
        console.print(_table(section, results))
    console.print(_verdicts(targets))


def _table(section: str, results: Results) -> Table:
    base = results.median(section, BASES.get(section, ""))
    table = Table(title=section, title_justify="left")
    table.add_column("", no_wrap=True, min_width=30)
    for heading in ("median", "min - max", "unit", "ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in results.series.values():
        if each.section == section:
            table.add_row(*_row(each, base))
    return table


def _row(series: Series, base: float | None) -> tuple[str, ...]:
    spread = f"{number(min(series.values))} - {number(max(series.values))}"
    rate = series.unit == "records/s" and base
    ratio = f"{series.median / base:.3g}" if rate and base else ""
    return (series.name, number(series.median), spread, series.unit, ratio)


def _verdicts(targets: list[Target]) -> Table:
    table = Table(title="targets", title_justify="left")
    table.add_column("", no_wrap=True)
    for heading in ("measured", "target", "holds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in targets:
        sign = ">=" if each.at_least else "<="
        measured = "-" if each.value is None else number(each.value)
        word = {True: "[green]yes", False: "[bold red]no", None: "not measured"}[each.holds]
        table.add_row(each.text, measured, f"{sign} {each.bound:g}", word)
    return table
