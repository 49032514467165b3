"""The ledger of the chaos run sees what it is there to see."""

from __future__ import annotations

import pytest

from chaos.ledger import Ledger


def ledger_of(*requests: str) -> Ledger:
    """A ledger of requests: updates of one identity, by number; a minus marks one not taken."""
    ledger = Ledger()
    for request in requests:
        numbers = [int(each) for each in request.split()]
        ledger.enter(
            [
                {"type": "profile", "identity": "a", "profileData": {"Seq": abs(number)}}
                for number in numbers
            ],
            [None if number > 0 else 555 for number in numbers],
        )
    return ledger


@pytest.mark.parametrize(
    ("requests", "overtaken", "left_behind"),
    [
        (("1 2", "3"), 0, 0),
        (("1 2", "1 2", "3"), 0, 0),
        (("-1 2", "1 2", "3"), 0, 0),
        (("1 2", "1 -2", "2", "3"), 0, 0),
        (("2", "1"), 1, 1),
        (("-1 2", "1"), 0, 1),
        (("-1 2", "1", "3"), 0, 1),
        (("1 2", "1", "3"), 0, 1),
    ],
)
def test_order_is_judged_by_what_the_vendor_is_left_with(
    requests: tuple[str, ...], overtaken: int, left_behind: int
) -> None:
    """A repeat is fine when the youngest comes last; an older one alone, after it, is not."""
    ledger = ledger_of(*requests)
    assert (len(ledger.overtaken()), len(ledger.left_behind())) == (overtaken, left_behind)


def test_ledger_ignores_unsure_updates() -> None:
    """Their producer never learned that they were accepted, so they may come in any order."""
    ledger = ledger_of("2", "1")
    assert not ledger.overtaken({"a#1"})
    assert not ledger.left_behind({"a#1"})


def test_repeats_are_counted() -> None:
    """A record that was taken twice has arrived twice."""
    assert ledger_of("1 2", "1 -2").arrivals() == {"a#1": 2, "a#2": 1}
