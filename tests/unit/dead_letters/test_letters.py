"""The times of dead letters, and the filter that selects them."""

from __future__ import annotations

from typing import Any

import pytest

from worker.dead_letters.letters import DeadLetter, LetterFilter, epoch_ms, iso

LETTER = DeadLetter(
    id="0" * 32,
    destination="main",
    kind="event",
    reason="refused",
    code=513,
    error="no",
    attempts=1,
    name="Viewed",
    body=b"{}",
    entry="1700000000007-0",
)


def test_epoch_ms_of_iso_is_the_same_time() -> None:
    """Times are ISO 8601 in UTC, to the millisecond."""
    assert iso(LETTER.failed_at_ms) == "2023-11-14T22:13:20.007Z"
    assert epoch_ms(iso(LETTER.failed_at_ms)) == LETTER.failed_at_ms


@pytest.mark.parametrize("text", ["", "yesterday", None, 12, "2023-11-14T22:13:20"])
def test_epoch_ms_of_anything_else_is_0(text: Any) -> None:
    """A malformed time in an edited file is no reason to stop."""
    assert epoch_ms(text) == 0


@pytest.mark.parametrize(
    ("fields", "selected"),
    [
        ({}, True),
        ({"kind": "event", "code": "513", "id": "0" * 32}, True),
        ({"code": "refused"}, True),
        ({"code": "expired"}, False),
        ({"code": "51"}, False),
        ({"kind": "profile"}, False),
        ({"id": "1" * 32}, False),
        ({"kind": "event", "code": "514"}, False),
    ],
)
def test_filter_matches_letters_with_all_its_fields(fields: dict[str, str], selected: bool) -> None:
    """A code is the vendor's or one of our reasons; a field that is missing matches all."""
    assert LetterFilter(**fields)(LETTER) is selected
