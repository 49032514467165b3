"""Days in the account's time zone."""

from __future__ import annotations

import pytest

from support.sandbox import NOON
from worker.sandbox.account_time import AccountTime


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
