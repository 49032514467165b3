"""How numbers, times and texts are written on a page."""

from __future__ import annotations

import pytest

from worker.dashboard.rendering import brief, moment, number, plural, span


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.25, "0.2 s"),
        (4.4, "4 s"),
        (59, "59 s"),
        (60, "1 min"),
        (7199, "120 min"),
        (7200, "2 h"),
        (172_800, "2 d"),
    ],
)
def test_span_is_in_the_unit_that_people_use(seconds: float, text: str) -> None:
    """Hours and days only from two of them on."""
    assert span(seconds) == text


def test_number_and_plural_have_separators() -> None:
    """And the noun fits the count."""
    assert number(1_234_567) == "1,234,567"
    counts = (plural(1, "record"), plural(0, "record"), plural(2, "rule is", "rules are"))
    assert counts == ("1 record", "0 records", "2 rules are")


def test_moment_is_in_utc() -> None:
    """To the second."""
    assert moment(1_800_000_000_999) == "2027-01-15 08:00:00 UTC"


def test_brief_cuts_a_long_text_and_keeps_a_short_one() -> None:
    """A heading has limited room."""
    assert brief("x" * 160) == "x" * 160
    assert brief("x" * 161) == "x" * 159 + "…"
