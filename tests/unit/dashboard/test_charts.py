"""Charts: what numbers a series of samples means, and where they are drawn."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.buffer.history import Sample
from worker.dashboard.charts import (
    DAY,
    HEIGHT,
    HOUR,
    WIDTH,
    Window,
    age_ceiling,
    ceiling,
    flow,
    oldest,
    short,
    waiting,
    with_now,
)

NOW = 1_000_000


def sample(ago: int, accepted: int = 0, *, waits: int = 0) -> Sample:
    """A sample of so many minutes ago."""
    return Sample(NOW - ago, accepted, 0, 0, waits, 0, 0)


def told(samples: list[Sample], window: Window = HOUR) -> list[str]:
    """What is told of accepted records, bucket by bucket."""
    texts = [column.text for column in flow(samples, window, NOW).columns]
    first = [text.partition(": ")[2].partition(",")[0] for text in texts]
    return [each if each.startswith("accepted") else "not known" for each in first]


def test_a_rate_is_the_growth_since_the_sample_before() -> None:
    """Per minute, also when the sample before is older than the window, or minutes are missing."""
    found = told([sample(70, 0), sample(10, 600), sample(6, 640), sample(5, 740)])
    assert found[49] == "accepted 10"
    assert found[53] == "accepted 10"
    assert found[54] == "accepted 100"
    assert set(found[50:53]) == {"not known"}


def test_totals_that_fall_are_no_rate() -> None:
    """Somebody emptied Redis: nothing is known of that minute, and the next one counts again."""
    found = told([sample(3, 900), sample(2, 5), sample(1, 9)])
    assert found[57:] == ["not known", "accepted 4", "not known"]


def test_a_peak_shows_in_the_day_though_it_was_short() -> None:
    """The highest of a quarter of an hour is drawn."""
    chart = waiting([sample(8, waits=1), sample(7, waits=900), sample(1, waits=2)], DAY, NOW)
    assert chart.top == "1k"
    assert chart.columns[-1].text.endswith("waiting 900, dead 0")


def test_the_age_of_the_oldest_is_told_in_lengths_of_time() -> None:
    """The highest of each minute or quarter; its edge and the half of it are round to people."""
    ages = [Sample(NOW - ago, 0, 0, 0, 1, age_ms, 0) for ago, age_ms in ((3, 400_000), (1, 1500))]
    hour, day = (oldest(ages, window, NOW) for window in (HOUR, DAY))
    assert (hour.top, hour.half) == (day.top, day.half) == ("10 min", "5 min")
    assert hour.summary == "oldest 2 s now, at most 7 min"
    assert day.columns[-1].text.endswith("oldest 7 min")


@given(st.floats(min_value=0, max_value=1e10))
def test_the_upper_edge_of_an_age_is_not_far_above(value: float) -> None:
    """Six times it at most, but for what is seconds: a curve is no flat line at the bottom."""
    assert value <= age_ceiling(value) <= max(10, 6 * value)


def test_a_single_death_among_thousands_is_seen() -> None:
    """Its bar has a height that eyes can find."""
    samples = [Sample(NOW - 2, 0, 0, 0, 0, 0, 0), Sample(NOW - 1, 90_000, 90_000, 1, 0, 0, 1)]
    died = next(curve for curve in flow(samples, HOUR, NOW).curves if curve.name == "died")
    assert "v-6.0" in died.bars


def test_the_minute_under_way_is_drawn_as_it_goes() -> None:
    """A steady flow is steady to its end; with too little to go by, nothing is claimed."""
    before = Sample(NOW, 100, 80, 1, 20, 0, 1)
    now = Sample(NOW, 150, 130, 1, 7, 0, 1)
    assert with_now([before], now, 30.0) == [before, Sample(NOW + 1, 200, 180, 1, 7, 0, 1)]
    assert with_now([before], now, 9.0) == [before]
    assert with_now([], now, 30.0) == []
    assert with_now([sample(1)], now, 30.0) == [sample(1)]


def test_nothing_known_is_said_so() -> None:
    """Without two samples there is no rate, and no empty drawing."""
    assert flow([], HOUR, NOW).empty
    assert flow([sample(0, 5)], HOUR, NOW).empty
    assert not waiting([sample(0)], HOUR, NOW).empty


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (950, "950"), (1500, "1.5k"), (20_000, "20k"), (3e6, "3M")]
)
def test_numbers_are_short(value: float, text: str) -> None:
    """They stand beside a chart on a phone."""
    assert short(value) == text


@given(st.floats(min_value=0, max_value=1e15))
def test_the_upper_edge_is_a_round_number_not_far_above(value: float) -> None:
    """1, 2 or 5 and noughts: at least the value, at most two and a half times it."""
    top = ceiling(value)
    assert value <= top <= max(2, 2.5 * value + 1e-6)
    assert re.fullmatch(r"[125]0*", f"{top:.0f}")


@given(
    st.dictionaries(st.integers(0, 1500), st.tuples(*[st.integers(0, 10**9)] * 3), max_size=60),
    st.sampled_from([HOUR, DAY]),
)
def test_whatever_the_samples_are_the_drawing_stays_in_its_frame(
    given_samples: dict[int, tuple[int, int, int]], window: Window
) -> None:
    """No point lies outside, whatever order totals are in and whichever minutes are missing."""
    samples = [
        Sample(NOW + 5 - ago, a, b, c, a, 0, b)
        for ago, (a, b, c) in sorted(given_samples.items(), reverse=True)
    ]
    for chart in (each(samples, window, NOW) for each in (flow, waiting, oldest)):
        assert len(chart.columns) == window.buckets
        for curve in chart.curves:
            for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", curve.line + curve.area):
                assert 0 <= float(x) <= WIDTH
                assert 0 <= float(y) <= HEIGHT
