"""Export and count queries, before they are sent."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from worker.errors import InvalidQuery
from worker.readback.queries import (
    NOT_EXPORTABLE,
    CountCondition,
    CountQuery,
    ExportQuery,
    day_number,
)


def test_day_number_accepts_numbers_text_and_dates() -> None:
    """Days that the calendar does not have are refused."""
    assert {day_number(20240229), day_number("20240229"), day_number(date(2024, 2, 29))} == {
        20240229
    }
    for odd in ("20230229", "2023-01-01", "today", "", 0, "٢٠٢٤٠٢٢٩"):
        with pytest.raises(InvalidQuery, match="days are YYYYMMDD"):
            day_number(odd)


@pytest.mark.parametrize("event", [*NOT_EXPORTABLE, "notification  SENT"])
def test_export_query_not_exportable_names_alternatives(event: str) -> None:
    """A notification event, however spelt, names the three other ways to get it."""
    with pytest.raises(InvalidQuery, match=r"S3 export.*GCP export.*dashboard"):
        ExportQuery(event, 20260101, 20260102)


def test_query_invalid_raises() -> None:
    """An empty name, a reversed range and a page too large are refused."""
    with pytest.raises(InvalidQuery, match="empty"):
        CountQuery(" ", 20260101, 20260102)
    with pytest.raises(InvalidQuery, match="ends before it begins"):
        CountQuery("Charged", 20260102, 20260101)
    for size in (0, 5001):
        with pytest.raises(InvalidQuery, match="1 to 5000"):
            ExportQuery("Charged", 20260101, 20260102, batch_size=size)


def test_export_query_has_the_vendors_shape() -> None:
    """Body and parameters are the vendor's; an unset flag is not sent."""
    query = ExportQuery("App Launched", 20171201, 20171225, 50, app=True, events=False)
    assert query.body == {"event_name": "App Launched", "from": 20171201, "to": 20171225}
    assert query.parameters == {"batch_size": "50", "app": "true", "events": "false"}


@pytest.mark.parametrize(
    ("text", "body"),
    [
        ("value:contains:piz", {"name": "value", "operator": "contains", "value": "piz"}),
        ("At:equals:12:30", {"name": "At", "operator": "equals", "value": "12:30"}),
        ("Code:equals:007", {"name": "Code", "operator": "equals", "value": "007"}),
        ("Code:equals:42", {"name": "Code", "operator": "equals", "value": "42"}),
        ("Price:greater_than:50.5", {"name": "Price", "operator": "greater_than", "value": 50.5}),
        ('City:in:["Brno"]', {"name": "City", "operator": "in", "value": ["Brno"]}),
        ("Empty:equals:", {"name": "Empty", "operator": "equals", "value": ""}),
    ],
)
def test_count_condition_parse_keeps_text_as_text(text: str, body: dict[str, Any]) -> None:
    """Values may contain colons, and numbers are numbers where they are compared."""
    query = CountQuery("X", 20240101, 20240101, [CountCondition.parse(text)])
    assert query.body["event_properties"] == [body]


@pytest.mark.parametrize("text", ["", "a", "a:equals", ":equals:1", "a:Is Not:1", "a::b"])
def test_count_condition_parse_invalid_raises_with_an_example(text: str) -> None:
    """Another form than NAME:OPERATOR:VALUE is explained by an example."""
    with pytest.raises(InvalidQuery, match="NAME:OPERATOR:VALUE"):
        CountCondition.parse(text)
