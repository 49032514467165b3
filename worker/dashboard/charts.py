"""Samples as charts: numbers in, the geometry of an SVG out. Pure.

The drawing is stretched to the width there is; the words beside it are HTML, so they stay legible
on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from worker.buffer.history import Sample

from .rendering import span

WIDTH, HEIGHT = 1000, 100
_MARKS = 4  # labels below the time axis
_LEAST_S = 10.0  # of a minute, to project the rest from
_SPANS = (10, 60, 120, 600, 1200, 3600, 7200, 14_400, 43_200, 86_400, 172_800)


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time up to now, in buckets of ``step`` minutes."""

    name: str
    minutes: int
    step: int

    @property
    def buckets(self) -> int:
        """How many there are."""
        return self.minutes // self.step


HOUR = Window("hour", 60, 1)
DAY = Window("day", 1440, 15)
BOTH = (HOUR, DAY)


@dataclass(frozen=True, slots=True)
class Curve:
    """A drawn series: its name, which is also its style, and SVG paths, of which some are empty.

    ``bars`` are for what is rare: a single one is seen.
    """

    name: str
    line: str = ""
    area: str = ""
    bars: str = ""


@dataclass(frozen=True, slots=True)
class Column:
    """What is told of one bucket when it is pointed at."""

    x: float
    width: float
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart, ready to be written; ``top`` is the number at its upper edge."""

    title: str
    unit: str
    top: str
    half: str
    curves: Sequence[Curve]
    columns: Sequence[Column]
    times: Sequence[str]
    summary: str
    empty: bool


@dataclass(frozen=True, slots=True)
class Scale:
    """How values are written, and which round one is the upper edge for a value."""

    written: Callable[[float], str]
    ceiling: Callable[[float], float]


Values = Sequence[float | None]


def with_now(samples: Sequence[Sample], now: Sample, seconds: float) -> list[Sample]:
    """The samples and, at their end, the minute under way as it would be at its end.

    ``now`` is this moment, ``seconds`` how old its minute is. What flowed so far is projected, so
    that a steady flow is drawn as one; of too short a time, or one that no sample began, nothing.
    """
    last = samples[-1] if samples else None
    if last is None or last.minute != now.minute or seconds < _LEAST_S:
        return list(samples)
    grown = {
        name: getattr(last, name) + round((getattr(now, name) - getattr(last, name)) * 60 / seconds)
        for name in ("accepted", "delivered", "dead_lettered")
    }
    return [*samples, replace(now, minute=now.minute + 1, **grown)]


def flow(samples: Sequence[Sample], window: Window, now_minute: int) -> Chart:
    """Records a minute: accepted, delivered, dead."""
    series = {
        name: _rates(samples, window, now_minute, take)
        for name, take in (
            ("accepted", lambda sample: sample.accepted),
            ("delivered", lambda sample: sample.delivered),
            ("died", lambda sample: sample.dead_lettered),
        )
    }
    return _chart(f"Flow, last {window.name}", "a minute", series, window, now_minute)


def waiting(samples: Sequence[Sample], window: Window, now_minute: int) -> Chart:
    """Records on their way, and dead letters kept."""
    series = {
        "waiting": _levels(samples, window, now_minute, lambda sample: sample.waiting),
        "dead": _levels(samples, window, now_minute, lambda sample: sample.dead),
    }
    return _chart(f"Waiting and dead, last {window.name}", "records", series, window, now_minute)


def oldest(samples: Sequence[Sample], window: Window, now_minute: int) -> Chart:
    """How long the oldest record in the buffer had waited, in seconds."""
    series = {"oldest": _levels(samples, window, now_minute, lambda each: each.oldest_ms / 1000)}
    title = f"Age of the oldest, last {window.name}"
    return _chart(title, "waiting", series, window, now_minute, scale=_AGES)


def _last_in_buckets(
    samples: Sequence[Sample], window: Window, now_minute: int
) -> list[Sample | None]:
    """The last sample of each bucket, and before them the one that the first is compared with."""
    found: list[Sample | None] = [None] * (window.buckets + 1)
    for sample in samples:
        found[_bucket(sample, window, now_minute)] = sample
    return found


def _bucket(sample: Sample, window: Window, now_minute: int) -> int:
    """From 1; 0 is for what lies before. A sample of a clock ahead of ours counts as of now."""
    after = sample.minute - (now_minute - window.minutes) - 1
    return min(max(0, after // window.step + 1), window.buckets)


def _levels(
    samples: Sequence[Sample], window: Window, now_minute: int, take: Callable[[Sample], float]
) -> Values:
    """The highest of each bucket, so that no peak is lost."""
    found: list[float | None] = [None] * (window.buckets + 1)
    for sample in samples:
        at = _bucket(sample, window, now_minute)
        found[at] = max(found[at] or 0, take(sample))
    return found[1:]


def _rates(
    samples: Sequence[Sample], window: Window, now_minute: int, take: Callable[[Sample], int]
) -> Values:
    """Growth a minute since the sample before, however far back that is."""
    before, *buckets = _last_in_buckets(samples, window, now_minute)
    rates: list[float | None] = []
    for sample in buckets:
        rate = None
        if sample and before:
            rate = (take(sample) - take(before)) / (sample.minute - before.minute)
        # Totals never fall, unless somebody emptied Redis.
        rates.append(rate if rate is None or rate >= 0 else None)
        before = sample or before
    return rates


def _chart(
    title: str,
    unit: str,
    series: dict[str, Values],
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
        top=scale.written(top),
        half=scale.written(top / 2),
        curves=curves,
        columns=_columns(series, window, now_minute, scale.written),
        times=_times(window, now_minute),
        summary="; ".join(_in_words(*each, scale.written) for each in series.items()),
        empty=not known,
    )


def _curve(name: str, values: Values, top: float) -> Curve:
    if name == "died":
        return Curve(name, bars=_bars(values, top))
    filled = name in ("accepted", "waiting", "oldest")
    return Curve(name, line=_line(values, top), area=_area(values, top) if filled else "")


def ceiling(value: float) -> float:
    """The next 1, 2 or 5 times a power of ten; at least 2, so that half of it is whole."""
    if value <= 2:
        return 2
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value)


def short(value: float) -> str:
    """A number in little room: 950, 1.5k, 20k, 3M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def age_ceiling(value: float) -> float:
    """The next length of time, in seconds, that is round to people, and so is its half."""
    days = value / 86_400
    return next((each for each in _SPANS if each >= value), 86_400 * ceiling(days))


def _points(values: Values, top: float) -> list[list[tuple[float, float]]]:
    """Stretches without a gap; each value stands in the middle of its bucket."""
    width = WIDTH / len(values)
    stretches: list[list[tuple[float, float]]] = [[]]
    for at, value in enumerate(values):
        if value is None:
            stretches.append([])
        else:
            stretches[-1].append(((at + 0.5) * width, HEIGHT - HEIGHT * value / top))
    return [stretch for stretch in stretches if stretch]


def _line(values: Values, top: float) -> str:
    """A single point is drawn as a short dash: a line of no length is not seen."""
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
    """At least so high that it is seen."""
    width = WIDTH / len(values)
    return "".join(
        f"M{(at + 0.2) * width:.1f} {HEIGHT}v-{max(6.0, HEIGHT * value / top):.1f}"
        f"h{0.6 * width:.1f}V{HEIGHT}Z"
        for at, value in enumerate(values)
        if value
    )


def _columns(
    series: dict[str, Values], window: Window, now_minute: int, written: Callable[[float], str]
) -> list[Column]:
    width = WIDTH / window.buckets
    begins = now_minute - window.minutes
    columns = []
    for at in range(window.buckets):
        values_now = {name: values[at] for name, values in series.items()}
        told = [f"{name} {written(now)}" for name, now in values_now.items() if now is not None]
        ends = _clock(begins + (at + 1) * window.step)
        columns.append(Column(at * width, width, f"{ends}: {', '.join(told) or 'not known'}"))
    return columns


def _times(window: Window, now_minute: int) -> list[str]:
    begins = now_minute - window.minutes
    return [_clock(begins + window.minutes * mark // _MARKS) for mark in range(_MARKS + 1)]


def _clock(minute: int) -> str:
    return datetime.fromtimestamp(minute * 60, UTC).strftime("%H:%M")


def _in_words(name: str, values: Values, written: Callable[[float], str]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return f"{name} not known"
    return f"{name} {written(known[-1])} now, at most {written(max(known))}"


_AGES = Scale(span, age_ceiling)
