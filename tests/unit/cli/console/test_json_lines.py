"""Line numbers as they are typed and printed."""

from __future__ import annotations

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.cli.console.json_lines import LineNumbers


@pytest.mark.parametrize(
    ("text", "taken", "others"),
    [
        ("7", [7], [6, 8]),
        ("12-15", [12, 15], [11, 16]),
        ("1001-", [1001, 10**9], [1000]),
        ("2, 4-5 ,9-", [2, 4, 5, 9, 10], [1, 3, 6, 8]),
    ],
)
def test_parse_of_ranges_contains_their_lines(
    text: str, taken: list[int], others: list[int]
) -> None:
    """Numbers, ranges and open ends mean what a person means by them."""
    lines = LineNumbers.parse(text)
    assert all(number in lines for number in taken)
    assert not any(number in lines for number in others)


@pytest.mark.parametrize("text", ["", "x", "0", "-3", "1 2", "1,,2", "3--4", "5-2", "1,9-8"])
def test_parse_of_anything_else_is_refused(text: str) -> None:
    """Anything else is an error, and is quoted."""
    with pytest.raises(click.BadParameter, match="is not a"):
        LineNumbers.parse(text)


@given(st.sets(st.integers(1, 60)), st.one_of(st.none(), st.integers(61, 70)))
def test_parse_of_written_numbers_returns_them(numbers: set[int], rest_from: int | None) -> None:
    """The text for a set of lines names exactly these lines, however they lie."""
    lines = LineNumbers.of(sorted(numbers), rest_from)
    if numbers or rest_from:
        lines = LineNumbers.parse(str(lines))
    expected = numbers | (set(range(rest_from, 80)) if rest_from else set())
    assert {number for number in range(1, 80) if number in lines} == expected
