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
