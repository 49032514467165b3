"""Dead letters grouped by cause, without what is personal in their texts."""

from __future__ import annotations

import pytest

from worker.dead_letters.groups import OTHER_TEXTS, group_letters, masked_name, masked_text
from worker.dead_letters.letters import DeadLetter, iso


def letter(failed_ms: int, error: str, code: int = 513, name: str = "Viewed") -> DeadLetter:
    """Make a dead letter that failed at this time."""
    return DeadLetter(
        f"{failed_ms:032x}",
        "letters",
        "event",
        "refused",
        code,
        error,
        1,
        name,
        b"{}",
        f"{failed_ms}-0",
    )


def test_groups_differ_by_cause() -> None:
    """Texts that differ only in the record's position are one group, with its first and last."""
    text = "Event Name is incorrect. Skipped record number : "
    letters = [letter(at, f"{text}{at}") for at in (1, 2, 31)]
    letters.append(letter(40, "Email is not valid.", 515, "Bought"))
    largest, other = group_letters(letters)
    assert (largest.text, largest.event, largest.count) == ("Event Name is incorrect.", "Viewed", 3)
    assert (largest.first_ms, largest.last_ms) == (1, 31)
    assert other.to_json() == {
        "destination": "letters",
        "kind": "event",
        "reason": "refused",
        "code": 515,
        "text": "Email is not valid.",
        "event": "Bought",
        "count": 1,
        "first": iso(40),
        "last": iso(40),
    }


def test_groups_beyond_the_limit_are_merged() -> None:
    """A vendor that writes a value into each text does not make the summary grow without bound."""
    letters = [letter(at, f"no such thing: {at}") for at in range(5)]
    groups = group_letters(letters, most=2)
    assert [(group.text, group.count) for group in groups] == [
        (OTHER_TEXTS, 3),
        ("no such thing: 0", 1),
        ("no such thing: 1", 1),
    ]


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("jane.doe@example.com is not valid", "••• is not valid"),
        ("Phone +49 170 1234567 is not valid", "Phone ••• is not valid"),
        ("limit 1024, code 513 on 2026-11-28", "limit 1024, code 513 on 2026-11-28"),
        ("no. 4111111111111111", "no. •••"),
    ],
)
def test_masked_text_hides_addresses_and_long_numbers(text: str, masked: str) -> None:
    """Limits, codes and dates stay, in texts and in event names."""
    assert masked_text(text) == masked
    assert masked_name(text) == masked
