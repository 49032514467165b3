"""The sandbox's reading of queries."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from support.sandbox import ALL
from worker.sandbox.queries import QueryRefused, read_query


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"event_name": ""}, 400),
        ({"from": "soon"}, 4002),
        ({"from": 20231301}, 4002),
        ({"to": 20190101}, 4002),
        ({"event_properties": "x"}, 400),
    ],
)
def test_read_query_invalid_is_refused(changes: dict[str, Any], code: int) -> None:
    """Bad dates have a code of their own."""
    with pytest.raises(QueryRefused) as refused:
        read_query(orjson.dumps(ALL | changes))
    assert refused.value.code == code


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
def test_filter_compares_numbers_as_numbers(operator: str, value: Any, passes: bool) -> None:
    """Numbers and numeric text compare alike."""
    wanted = {"name": "Price", "operator": operator, "value": value}
    query = read_query(orjson.dumps(ALL | {"event_properties": [wanted]}))
    assert query.passes(b'{"evtData": {"Price": 59.99}}') is passes
    assert query.passes(b'{"evtData": {"Other": 59.99}}') is False


@pytest.mark.parametrize(
    "given", [{}, [1], [{"name": "a"}], [{"name": "a", "value": 1, "operator": "is"}]]
)
def test_read_query_invalid_filter_is_refused(given: Any) -> None:
    """A filter that is not understood must not count everything."""
    with pytest.raises(QueryRefused, match=r"^Invalid event properties: "):
        read_query(orjson.dumps(ALL | {"event_properties": given}))
