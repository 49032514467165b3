"""Property filters of a count."""

from __future__ import annotations

from typing import Any

import pytest

from worker.sandbox.property_filters import BadFilter, read_filters


@pytest.mark.parametrize(
    ("operator", "value", "passes"),
    [
        ("equals", "59.99", True),
        ("equals", "60", False),
        ("not_equals", 60, True),
        ("contains", "9.9", True),
        ("greater_than", 59, True),
        ("less_than", "59", False),
        ("greater_than_equals", 59.99, True),
        ("between", [59, 60], True),
        ("in", [1, 59.99], True),
    ],
)
def test_filter_compares_numbers_as_numbers(
    operator: str,
    value: Any,
    passes: bool,
) -> None:
    """Numbers and numeric text compare alike."""
    (test,) = read_filters([{"name": "Price", "operator": operator, "value": value}])
    assert test({"Price": 59.99}) is passes
    assert test({"Other": 59.99}) is False


@pytest.mark.parametrize(
    "given", [{}, [1], [{"name": "a"}], [{"name": "a", "value": 1, "operator": "is"}]]
)
def test_read_filters_invalid_raises(given: Any) -> None:
    """A filter that is not understood must not count everything."""
    with pytest.raises(BadFilter):
        read_filters(given)
