"""Samples as charts: numbers in, the geometry of an SVG out. Pure.

The drawing is stretched to the available width; the text beside it is HTML, so it stays legible on
a phone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, groupby
from operator import attrgetter

from worker.buffer.history import Sample
from worker.buffer.status import KindCounts

from .rendering import span

WIDTH, HEIGHT = 1000, 100
_MARKS = 4  # intervals between the labels of the time axis
_MIN_PROJECTED_S = 10.0  # less of a minute is not enough to project the rest from
_SPANS = (10, 60, 120, 600, 1200, 3600, 7200, 14_400, 43_200, 86_400, 172_800)
_FILLED = ("accepted", "waiting", "oldest")

Values = Sequence[float | None]
Buckets = Sequence[Sequence[Sample]]


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time up to now, in buckets of ``step`` minutes."""

    name: str
    minutes: int
    step: int


HOUR = Window("hour", 60, 1)
DAY = Window("day", 1440, 15)


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart, ready to be rendered; ``top`` is the number at its upper edge.

    ``names`` are those of the series, ``paths`` the CSS classes and SVG paths to draw in order.
    ``tooltips`` has a text for each bucket, ``times`` the labels of the time axis.
    """

    title: str
    unit: str
    top: str
    half: str
    names: Sequence[str]
    paths: Sequence[tuple[str, str]]
    tooltips: Sequence[str]
    times: Sequence[str]
    summary: str
    empty: bool


def with_now(samples: Sequence[Sample], total: KindCounts, now_s: float) -> Sequence[Sample]:
    """Return the samples and the current minute, projected to its end.

    ``total`` is of this moment. The projection keeps a steady flow steady; without it if the minute
    is too young or no sample began it.
    """
    minute, seconds = divmod(now_s, 60)
    if not samples or samples[-1].minute != minute or seconds < _MIN_PROJECTED_S:
        return samples
    totals = ("accepted", "delivered", "dead_lettered")
    begun = {name: getattr(samples[-1], name) for name in totals}
    projected = Sample(
        minute=int(minute) + 1,
        waiting=total.open,
        oldest_ms=int(total.oldest_wait_s * 1000),
        dead=total.dead,
        **{
            name: before + round((total.totals[name] - before) * 60 / seconds)
            for name, before in begun.items()
        },
    )
    return [*samples, projected]


def flow(samples: Sequence[Sample], window: Window, now_minute: int) -> Chart:
    """Return the chart of records accepted, delivered and failed a minute."""
    buckets = _buckets(samples, window, now_minute)
    totals = {"accepted": "accepted", "delivered": "delivered", "failed": "dead_lettered"}
    series = {name: [*_rates(buckets, attrgetter(total))] for name, total in totals.items()}
    return _chart("Flow", "a minute", series, window, now_minute)


def waiting(samples: Sequence[Sample], window: Window, now_minute: int) -> Chart:
    """Return the chart of records not yet delivered, and of dead letters."""
    buckets = _buckets(samples, window, now_minute)
    series = {name: _peaks(buckets, attrgetter(name)) for name in ("waiting", "dead")}
    return _chart("Waiting and dead", "records", series, window, now_minute)


def oldest(samples: Sequence[Sample], window: Window, now_minute: int) -> Chart:
    """Return the chart of how long the oldest record in the buffer had waited."""
    buckets = _buckets(samples, window, now_minute)
    series = {"oldest": _peaks(buckets, lambda sample: sample.oldest_ms / 1000)}
    return _chart(
        "Oldest record", "waiting", series, window, now_minute, text=span, edge=age_ceiling
    )


def _buckets(samples: Sequence[Sample], window: Window, now_minute: int) -> Buckets:
    """Sort samples into buckets, the first for all before; of the future, they count as of now."""
    last = window.minutes // window.step
    buckets: list[list[Sample]] = [[] for _ in range(last + 1)]
    for sample in samples:
        after = sample.minute - (now_minute - window.minutes) - 1
        buckets[min(max(0, after // window.step + 1), last)].append(sample)
    return buckets


def _peaks(buckets: Buckets, take: Callable[[Sample], float]) -> Values:
    return [max(map(take, bucket), default=None) for bucket in buckets[1:]]


def _rates(buckets: Buckets, take: Callable[[Sample], int]) -> Iterator[float | None]:
    """Yield the growth a minute since the previous sample, however far back that is."""
    before, *others = (bucket[-1] if bucket else None for bucket in buckets)
    for latest in others:
        rate = None
        # Totals never fall, unless Redis was emptied.
        if latest and before and (growth := take(latest) - take(before)) >= 0:
            rate = growth / (latest.minute - before.minute)
        yield rate
        before = latest or before


def ceiling(value: float) -> float:
    """Return the next 1, 2 or 5 times a power of ten; at least 2, so that its half is whole."""
    if value <= 2:
        return 2
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value)


def short(value: float) -> str:
    """Return a number in few characters: 950, 1.5k, 20k, 3M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def age_ceiling(value: float) -> float:
    """Return the next round length of time, in seconds, with a half that is round too."""
    return next((each for each in _SPANS if each >= value), 86_400 * ceiling(value / 86_400))


def _chart(
    title: str,
    unit: str,
    series: Mapping[str, Values],
    window: Window,
    now_minute: int,
    *,
    text: Callable[[float], str] = short,
    edge: Callable[[float], float] = ceiling,
) -> Chart:
    """Draw series; ``text`` writes a value, ``edge`` is the round one at or above a value."""
    known = {name: [each for each in series[name] if each is not None] for name in series}
    top = edge(max(chain(*known.values()), default=0))
    start = now_minute - window.minutes
    tooltips = []
    for bucket, values in enumerate(zip(*series.values(), strict=True), 1):
        pairs = zip(series, values, strict=True)
        texts = [f"{name} {text(value)}" for name, value in pairs if value is not None]
        tooltips.append(f"{_clock(start + bucket * window.step)}: {', '.join(texts) or 'no data'}")
    levels = {
        name: f"{text(values[-1])} now, {text(max(values))} at most" if values else "no data"
        for name, values in known.items()
    }
    return Chart(
        title=f"{title}, last {window.name}",
        unit=unit,
        top=text(top),
        half=text(top / 2),
        names=list(series),
        paths=_paths(series, top),
        tooltips=tooltips,
        times=[_clock(start + window.minutes * mark // _MARKS) for mark in range(_MARKS + 1)],
        summary="; ".join(map(" ".join, levels.items())),
        empty=not any(known.values()),
    )


def _paths(series: Mapping[str, Values], top: float) -> list[tuple[str, str]]:
    """Return the CSS classes and paths of all shapes, with the areas below the lines."""
    areas, lines = [], []
    for name, values in series.items():
        if name == "failed":
            lines.append(("bars failed", _bars(values, top)))
            continue
        line, area = _line_and_area(values, top)
        lines.append((f"line {name}", line))
        if name in _FILLED:
            areas.append((f"area {name}", area))
    return [(css_class, path) for css_class, path in areas + lines if path]


def _line_and_area(values: Values, top: float) -> tuple[str, str]:
    """Return the paths of the line through the middle of each bucket, and of the area below it.

    A value without neighbours becomes a short dash, so that it is visible.
    """
    width, line, area = WIDTH / len(values), "", ""
    for _, stretch in groupby(enumerate(values), key=lambda each: each[1] is None):
        points = [
            f"{(position + 0.5) * width:.1f} {HEIGHT - HEIGHT * value / top:.1f}"
            for position, value in stretch
            if value is not None
        ]
        if points:
            path = f"M{'L'.join(points)}"
            line += path if len(points) > 1 else f"{path}h3"
            area += f"{path}V{HEIGHT}H{points[0].partition(' ')[0]}Z"
    return line, area


def _bars(values: Values, top: float) -> str:
    """Return the bars of rare events, each high enough to be visible."""
    width = WIDTH / len(values)
    return "".join(
        f"M{(position + 0.2) * width:.1f} {HEIGHT}v-{max(6.0, HEIGHT * value / top):.1f}"
        f"h{0.6 * width:.1f}V{HEIGHT}Z"
        for position, value in enumerate(values)
        if value
    )


def _clock(minute: int) -> str:
    return datetime.fromtimestamp(minute * 60, UTC).strftime("%H:%M")
