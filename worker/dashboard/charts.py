"""Samples as charts: numbers in, the geometry of an SVG out. Pure.

The drawing is stretched to the available width; the text beside it is HTML, so it stays legible on
a phone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from worker.buffer.history import Sample

from .rendering import span

WIDTH, HEIGHT = 1000, 100
_MARKS = 4  # intervals between the labels of the time axis
_MIN_PROJECTED_S = 10.0  # less of a minute is not enough to project the rest from
_SPANS = (10, 60, 120, 600, 1200, 3600, 7200, 14_400, 43_200, 86_400, 172_800)


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time up to now, in buckets of ``step`` minutes."""

    name: str
    minutes: int
    step: int

    @property
    def buckets(self) -> int:
        """Return the number of buckets."""
        return self.minutes // self.step


HOUR = Window("hour", 60, 1)
DAY = Window("day", 1440, 15)
WINDOWS = (HOUR, DAY)


@dataclass(frozen=True, slots=True)
class Curve:
    """A drawn series: its name, which is also its CSS class, and SVG paths, some of them empty.

    ``bars`` are for rare events: even a single one is visible.
    """

    name: str
    line: str = ""
    area: str = ""
    bars: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart, ready to be rendered; ``top`` is the number at its upper edge.

    ``tooltips`` has a text for each bucket, ``times`` the labels of the time axis.
    """

    title: str
    unit: str
    top: str
    half: str
    curves: Sequence[Curve]
    tooltips: Sequence[str]
    times: Sequence[str]
    summary: str
    empty: bool


@dataclass(frozen=True, slots=True)
class Scale:
    """How values are written, and the round value at or above a value for the upper edge."""

    format: Callable[[float], str]
    ceiling: Callable[[float], float]


Values = Sequence[float | None]


def with_now(samples: Sequence[Sample], now: Sample, seconds: float) -> list[Sample]:
    """Return the samples and the current minute, projected to its end.

    ``now`` is this moment, ``seconds`` the age of its minute. The projection keeps a steady flow
    steady; without it if the minute is too young or no sample began it.
    """
    last = samples[-1] if samples else None
    if last is None or last.minute != now.minute or seconds < _MIN_PROJECTED_S:
        return list(samples)
    grown = {
        name: getattr(last, name) + round((getattr(now, name) - getattr(last, name)) * 60 / seconds)
        for name in ("accepted", "delivered", "dead_lettered")
    }
    return [*samples, replace(now, minute=now.minute + 1, **grown)]


def flow(samples: Sequence[Sample], window: Window, now_minute: int) -> Chart:
    """Return the chart of records accepted, delivered and failed a minute."""
    series = {
        "accepted": _rates(samples, window, now_minute, lambda sample: sample.accepted),
        "delivered": _rates(samples, window, now_minute, lambda sample: sample.delivered),
        "failed": _rates(samples, window, now_minute, lambda sample: sample.dead_lettered),
    }
    return _chart(f"Flow, last {window.name}", "a minute", series, window, now_minute)


def waiting(samples: Sequence[Sample], window: Window, now_minute: int) -> Chart:
    """Return the chart of records not yet delivered, and of dead letters."""
    series = {
        "waiting": _levels(samples, window, now_minute, lambda sample: sample.waiting),
        "dead": _levels(samples, window, now_minute, lambda sample: sample.dead),
    }
    return _chart(f"Waiting and dead, last {window.name}", "records", series, window, now_minute)


def oldest(samples: Sequence[Sample], window: Window, now_minute: int) -> Chart:
    """Return the chart of how long the oldest record in the buffer had waited."""
    ages = _levels(samples, window, now_minute, lambda sample: sample.oldest_ms / 1000)
    title, scale = f"Oldest record, last {window.name}", Scale(span, age_ceiling)
    return _chart(title, "waiting", {"oldest": ages}, window, now_minute, scale=scale)


def _bucket(sample: Sample, window: Window, now_minute: int) -> int:
    """Return the bucket, from 1; 0 is for all before. A sample from the future counts as of now."""
    after = sample.minute - (now_minute - window.minutes) - 1
    return min(max(0, after // window.step + 1), window.buckets)


def _levels(
    samples: Sequence[Sample], window: Window, now_minute: int, take: Callable[[Sample], float]
) -> Values:
    """Return the highest value of each bucket, so that no peak is lost."""
    found: list[float | None] = [None] * (window.buckets + 1)
    for sample in samples:
        bucket = _bucket(sample, window, now_minute)
        found[bucket] = max(found[bucket] or 0, take(sample))
    return found[1:]


def _rates(
    samples: Sequence[Sample], window: Window, now_minute: int, take: Callable[[Sample], int]
) -> Values:
    """Return the growth a minute since the previous sample, however far back that is."""
    last: list[Sample | None] = [None] * (window.buckets + 1)
    for sample in samples:
        last[_bucket(sample, window, now_minute)] = sample
    before, *buckets = last
    rates: list[float | None] = []
    for latest in buckets:
        rate = None
        if latest and before:
            rate = (take(latest) - take(before)) / (latest.minute - before.minute)
        # Totals never fall, unless Redis was emptied.
        rates.append(rate if rate is None or rate >= 0 else None)
        before = latest or before
    return rates


def _chart(
    title: str,
    unit: str,
    series: Mapping[str, Values],
    window: Window,
    now_minute: int,
    *,
    scale: Scale | None = None,
) -> Chart:
    scale = scale or Scale(short, ceiling)
    known = [value for values in series.values() for value in values if value is not None]
    top = scale.ceiling(max(known, default=0))
    curves = [_curve(name, values, top) for name, values in series.items()]
    return Chart(
        title=title,
        unit=unit,
        top=scale.format(top),
        half=scale.format(top / 2),
        curves=curves,
        tooltips=_tooltips(series, window, now_minute, scale.format),
        times=_times(window, now_minute),
        summary="; ".join(_summary(*each, scale.format) for each in series.items()),
        empty=not known,
    )


def _curve(name: str, values: Values, top: float) -> Curve:
    if name == "failed":
        return Curve(name, bars=_bars(values, top))
    filled = name in ("accepted", "waiting", "oldest")
    return Curve(name, line=_line(values, top), area=_area(values, top) if filled else "")


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


def _points(values: Values, top: float) -> list[list[tuple[float, float]]]:
    """Return stretches without a gap; each value is drawn in the middle of its bucket."""
    width = WIDTH / len(values)
    stretches: list[list[tuple[float, float]]] = [[]]
    for position, value in enumerate(values):
        if value is None:
            stretches.append([])
        else:
            stretches[-1].append(((position + 0.5) * width, HEIGHT - HEIGHT * value / top))
    return [stretch for stretch in stretches if stretch]


def _line(values: Values, top: float) -> str:
    """Return the path; a single point becomes a short dash, so that it is visible."""
    parts = []
    for stretch in _points(values, top):
        first, *others = stretch
        rest = "".join(f"L{x:.1f} {y:.1f}" for x, y in others) or "h3"
        parts.append(f"M{first[0]:.1f} {first[1]:.1f}{rest}")
    return "".join(parts)


def _area(values: Values, top: float) -> str:
    return "".join(
        f"M{stretch[0][0]:.1f} {HEIGHT}"
        + "".join(f"L{x:.1f} {y:.1f}" for x, y in stretch)
        + f"L{stretch[-1][0]:.1f} {HEIGHT}Z"
        for stretch in _points(values, top)
    )


def _bars(values: Values, top: float) -> str:
    """Return the bars, each high enough to be visible."""
    width = WIDTH / len(values)
    return "".join(
        f"M{(position + 0.2) * width:.1f} {HEIGHT}v-{max(6.0, HEIGHT * value / top):.1f}"
        f"h{0.6 * width:.1f}V{HEIGHT}Z"
        for position, value in enumerate(values)
        if value
    )


def _tooltips(
    series: Mapping[str, Values], window: Window, now_minute: int, text: Callable[[float], str]
) -> list[str]:
    start = now_minute - window.minutes
    tooltips = []
    for bucket in range(window.buckets):
        found = {name: values[bucket] for name, values in series.items()}
        texts = [f"{name} {text(value)}" for name, value in found.items() if value is not None]
        end = _clock(start + (bucket + 1) * window.step)
        tooltips.append(f"{end}: {', '.join(texts) or 'no data'}")
    return tooltips


def _times(window: Window, now_minute: int) -> list[str]:
    start = now_minute - window.minutes
    return [_clock(start + window.minutes * mark // _MARKS) for mark in range(_MARKS + 1)]


def _clock(minute: int) -> str:
    return datetime.fromtimestamp(minute * 60, UTC).strftime("%H:%M")


def _summary(name: str, values: Values, text: Callable[[float], str]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return f"{name} no data"
    return f"{name} {text(known[-1])} now, {text(max(known))} at most"
