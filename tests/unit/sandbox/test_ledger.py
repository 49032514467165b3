"""The sandbox's ledger of accepted records."""

from __future__ import annotations

import orjson
import pytest

from support.sandbox import NOON, ledger, rows
from worker.sandbox.ledger import AccountTime, TallyKey


def test_ledger_counts_outlive_the_bodies() -> None:
    """Old bodies are forgotten at the bound, their counts never."""
    book = ledger(keep=5)
    for first in range(0, 30, 3):
        book.add("clevertap", rows(first, first + 1, first + 2))
    assert book.tally[TallyKey("clevertap", "event", "Seen", 20231115)] == 30
    assert 5 <= book.kept < 8
    assert [orjson.loads(row.body)["evtData"]["n"] for row in book.newest(2)] == [29, 28]


def test_ledger_counts_duplicates_by_content() -> None:
    """An equal body in this request or an earlier one is a duplicate."""
    book = ledger()
    book.add("clevertap", rows(1, 2, 2))
    assert book.of("clevertap").duplicates == 1
    book.add("clevertap", rows(1, 3))
    assert book.of("clevertap").duplicates == 2


def test_ledger_remove_uncounts() -> None:
    """Removed records leave bodies and counts, and no more than requested."""
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
def test_account_time_uses_the_accounts_zone(zone: str, day: int, second: int) -> None:
    """The same second falls on different days in different accounts."""
    time = AccountTime(zone)
    assert (time.day_of(NOON), time.second_of(NOON)) == (day, second)


def test_account_time_of_milliseconds_has_a_day() -> None:
    """A year beyond the calendar must not break the vendor."""
    assert AccountTime("UTC").day_of(NOON * 1000) == 99991231
