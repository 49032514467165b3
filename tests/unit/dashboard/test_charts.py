"""Charts: which numbers a series of samples yields, and where they are drawn."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.buffer.history import Sample
from worker.buffer.status import KindCounts
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
    """Return a sample of ``ago`` minutes ago."""
    return Sample(NOW - ago, accepted, 0, 0, waits, 0, 0)


def accepted_texts(samples: list[Sample], window: Window = HOUR) -> list[str]:
    """Return the tooltips' part on accepted records, bucket by bucket."""
    texts = flow(samples, window, NOW).tooltips
    first = [text.partition(": ")[2].partition(",")[0] for text in texts]
    return [each if each.startswith("accepted") else "no data" for each in first]


def test_flow_is_the_growth_a_minute_since_the_previous_sample() -> None:
    """Also when that is older than the window, or minutes are missing."""
    found = accepted_texts([sample(70, 0), sample(10, 600), sample(6, 640), sample(5, 740)])
    assert found[49] == "accepted 10"
    assert found[53] == "accepted 10"
    assert found[54] == "accepted 100"
    assert set(found[50:53]) == {"no data"}


def test_flow_of_totals_that_fall_is_unknown() -> None:
    """Redis was emptied: that minute has no data, and the next one counts again."""
    found = accepted_texts([sample(3, 900), sample(2, 5), sample(1, 9)])
    assert found[57:] == ["no data", "accepted 4", "no data"]


def test_waiting_shows_a_short_peak_in_the_day() -> None:
    """The highest value of a quarter of an hour is drawn."""
    chart = waiting([sample(8, waits=1), sample(7, waits=900), sample(1, waits=2)], DAY, NOW)
    assert chart.top == "1k"
    assert chart.tooltips[-1].endswith("waiting 900, dead 0")


def test_oldest_is_written_in_lengths_of_time() -> None:
    """The upper edge and its half are round ones."""
    ages = [Sample(NOW - ago, 0, 0, 0, 1, age_ms, 0) for ago, age_ms in ((3, 400_000), (1, 1500))]
    hour, day = (oldest(ages, window, NOW) for window in (HOUR, DAY))
    assert (hour.top, hour.half) == (day.top, day.half) == ("10 min", "5 min")
    assert hour.summary == "oldest 2 s now, 7 min at most"
    assert day.tooltips[-1].endswith("oldest 7 min")


@given(st.floats(min_value=0, max_value=1e10))
def test_age_ceiling_is_not_far_above_the_value(value: float) -> None:
    """At most six times it, apart from a few seconds, so that the curve is not flat."""
    assert value <= age_ceiling(value) <= max(10, 6 * value)


def test_flow_with_one_failure_among_thousands_shows_its_bar() -> None:
    """The bar is high enough to be visible."""
    samples = [Sample(NOW - 2, 0, 0, 0, 0, 0, 0), Sample(NOW - 1, 90_000, 90_000, 1, 0, 0, 1)]
    assert "v-6.0" in dict(flow(samples, HOUR, NOW).paths)["bars failed"]


def test_with_now_projects_the_current_minute() -> None:
    """A steady flow stays steady; with too little data nothing is projected."""
    before = Sample(NOW, 100, 80, 1, 20, 0, 1)
    totals = {"accepted": 150, "delivered": 130, "dead_lettered": 1}
    total = KindCounts(4, 2, 1, dead=3, oldest_wait_s=7.5, totals=totals)
    half_a_minute = NOW * 60 + 30.0
    projected = Sample(NOW + 1, 200, 180, 1, waiting=7, oldest_ms=7500, dead=3)
    assert with_now([before], total, half_a_minute) == [before, projected]
    assert with_now([before], total, NOW * 60 + 9.0) == [before]
    assert with_now([], total, half_a_minute) == []
    assert with_now([sample(1)], total, half_a_minute) == [sample(1)]


def test_chart_without_data_is_empty() -> None:
    """Without two samples there is no rate."""
    assert flow([], HOUR, NOW).empty
    assert flow([sample(0, 5)], HOUR, NOW).empty
    assert not waiting([sample(0)], HOUR, NOW).empty


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (950, "950"), (1500, "1.5k"), (20_000, "20k"), (3e6, "3M")]
)
def test_short_takes_few_characters(value: float, text: str) -> None:
    """The numbers fit beside a chart on a phone."""
    assert short(value) == text


@given(st.floats(min_value=0, max_value=1e15))
def test_ceiling_is_a_round_number_not_far_above_the_value(value: float) -> None:
    """1, 2 or 5 and zeros: at least the value, and at most two and a half times it."""
    top = ceiling(value)
    assert value <= top <= max(2, 2.5 * value + 1e-6)
    assert re.fullmatch(r"[125]0*", f"{top:.0f}")


@given(
    st.dictionaries(st.integers(0, 1500), st.tuples(*[st.integers(0, 10**9)] * 3), max_size=60),
    st.sampled_from([HOUR, DAY]),
)
def test_charts_of_any_samples_stay_within_their_frame(
    given_samples: dict[int, tuple[int, int, int]], window: Window
) -> None:
    """Whatever the order of the totals is, and whichever minutes are missing."""
    samples = [
        Sample(NOW + 5 - ago, a, b, c, a, 0, b)
        for ago, (a, b, c) in sorted(given_samples.items(), reverse=True)
    ]
    for chart in (each(samples, window, NOW) for each in (flow, waiting, oldest)):
        assert len(chart.tooltips) == window.minutes // window.step
        for _, path in chart.paths:
            for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path):
                assert 0 <= float(x) <= WIDTH
                assert 0 <= float(y) <= HEIGHT
