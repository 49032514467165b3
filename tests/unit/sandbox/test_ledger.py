"""The sandbox's account of what it took, and the queries against it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from support.clocks import Clock
from worker.sandbox.account_time import AccountTime
from worker.sandbox.counts import Counts
from worker.sandbox.exports import Exports, PageShape, page_size
from worker.sandbox.ledger import Ledger, LedgerRecord, TallyKey
from worker.sandbox.property_filters import BadFilter, read_filters
from worker.sandbox.queries import QueryRefused, read_query
from worker.sandbox.settings import SandboxSettings

NOON = 1_700_049_600  # 2023-11-15 12:00:00 UTC
ALL = {"event_name": "Seen", "from": 20200101, "to": 20300101}


def rows(*numbers: int, name: str = "Seen", ts: int = NOON) -> list[LedgerRecord]:
    """Events told apart by a number."""
    return [
        LedgerRecord(
            "clevertap", "event", name, ts, orjson.dumps({"evtData": {"n": n}, "identity": "a"})
        )
        for n in numbers
    ]


def ledger(keep: int = 1000) -> Ledger:
    """An empty one, its days in UTC."""
    return Ledger(keep, AccountTime("UTC").day_of)


def test_counts_outlive_the_bodies() -> None:
    """Old bodies are forgotten at the bound, the counts of them never."""
    book = ledger(keep=5)
    for first in range(0, 30, 3):
        book.add("clevertap", rows(first, first + 1, first + 2))
    assert book.tally[TallyKey("clevertap", "event", "Seen", 20231115)] == 30
    assert 5 <= book.kept < 8
    assert [orjson.loads(row.body)["evtData"]["n"] for row in book.newest(2)] == [29, 28]


def test_duplicates_are_counted_by_content() -> None:
    """A body that came before, in this request or an earlier one, is a duplicate."""
    book = ledger()
    assert book.add("clevertap", rows(1, 2, 2)) == 1
    assert book.add("clevertap", rows(1, 3)) == 1
    assert book.of("clevertap").duplicates == 2


def test_removing_uncounts() -> None:
    """What is taken off is gone from bodies and counts, and no more than asked."""
    book = ledger()
    book.add("clevertap", [*rows(1, 2, 3), *rows(4, name="Other")])
    book.add("clevertap", rows(5, 6))
    assert book.remove(lambda row: row.name == "Seen", 4) == 4
    assert [orjson.loads(row.body)["evtData"]["n"] for row in book.rows()] == [4, 6]
    assert book.tally[TallyKey("clevertap", "event", "Seen", 20231115)] == 1
    assert book.remove(lambda row: row.name == "Seen", 9) == 1


@pytest.mark.parametrize(
    ("zone", "day", "second"),
    [
        ("UTC", 20231115, 20231115120000),
        ("Pacific/Auckland", 20231116, 20231116010000),
        ("Asia/Kathmandu", 20231115, 20231115174500),
    ],
)
def test_days_are_the_accounts(zone: str, day: int, second: int) -> None:
    """The same second falls on different days in different accounts."""
    time = AccountTime(zone)
    assert (time.day_of(NOON), time.second_of(NOON)) == (day, second)


def test_a_time_in_milliseconds_has_a_day_too() -> None:
    """A vendor takes what it is given; a year beyond the calendar must not break it."""
    assert AccountTime("UTC").day_of(NOON * 1000) == 99991231


def test_an_export_pages_through_everything_once() -> None:
    """Busy first, then page by page until no next cursor is named; each record comes once."""
    book = ledger()
    book.add("clevertap", rows(*range(7)))
    exports = Exports(book, AccountTime("UTC"), SandboxSettings(busy_polls=2), Clock())
    cursor = exports.start(read_query(orjson.dumps(ALL)), PageShape(3))
    assert cursor.endswith("%3D")
    for _ in range(2):
        with pytest.raises(QueryRefused, match="in progress"):
            exports.page(cursor.replace("%2F", "/").replace("%3D", "="))
    numbers = []
    while cursor:
        page = exports.page(cursor.replace("%2F", "/").replace("%3D", "="))
        numbers += [record["event_props"]["n"] for record in page["records"]]
        cursor = page.get("next_cursor", "")
    assert numbers == list(range(7))


def test_a_cursor_runs_out() -> None:
    """A cursor left alone for an hour, or kept for four, is invalid."""
    clock = Clock()
    exports = Exports(ledger(), AccountTime("UTC"), SandboxSettings(busy_polls=0), clock)
    cursor = exports.start(read_query(orjson.dumps(ALL)), PageShape(3)).replace("%2F", "/")
    cursor = cursor.replace("%3D", "=")
    for hour in range(1, 5):
        clock.now = hour * 3599.0
        assert exports.page(cursor) == {"status": "success"}
    clock.now = 4 * 3600.0 + 1
    with pytest.raises(QueryRefused, match="Invalid cursor"):
        exports.page(cursor)


@pytest.mark.parametrize(("asked", "size"), [(None, 5000), ("50", 50), ("9999", 5000)])
def test_page_size_is_bounded(asked: str | None, size: int) -> None:
    """A page holds as many records as requested, and at most 5000."""
    assert page_size(asked) == size


def test_a_count_is_partial_first() -> None:
    """The same question draws a req_id, then the count; an unknown or old id must be asked anew."""
    book, clock = ledger(), Clock()
    book.add("clevertap", rows(1, 2, 3))
    counts = Counts(book, SandboxSettings(count_partials=2), clock)
    first = counts.start(read_query(orjson.dumps(ALL)))
    assert first["status"] == "partial"
    assert counts.poll(str(first["req_id"])) == first
    assert counts.poll(str(first["req_id"])) == {"status": "success", "count": 3}
    clock.now = 601.0
    for unknown in (str(first["req_id"]), "1", "x"):
        with pytest.raises(QueryRefused, match="invalid request id"):
            counts.poll(unknown)


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
def test_filters_compare_numbers_as_numbers(
    operator: str,
    value: Any,
    passes: bool,
) -> None:
    """Numbers and numbers in text compare alike."""
    (test,) = read_filters([{"name": "Price", "operator": operator, "value": value}])
    assert test({"Price": 59.99}) is passes
    assert test({"Other": 59.99}) is False


@pytest.mark.parametrize(
    "given", [{}, [1], [{"name": "a"}], [{"name": "a", "value": 1, "operator": "is"}]]
)
def test_filters_that_make_no_sense_are_refused(given: Any) -> None:
    """A filter that was not understood must not count everything."""
    with pytest.raises(BadFilter):
        read_filters(given)


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
def test_queries_that_make_no_sense_are_refused(changes: dict[str, Any], code: int) -> None:
    """Bad dates have a code of their own."""
    with pytest.raises(QueryRefused) as refused:
        read_query(orjson.dumps(ALL | changes))
    assert refused.value.code == code
