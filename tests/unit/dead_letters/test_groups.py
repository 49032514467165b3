"""Texts of dead letters without personal data."""

from __future__ import annotations

import pytest

from worker.dead_letters.groups import masked_text


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("card 4111 1111 1111 1111", "card •••"),
        ("(415) 555-1234 is no number", "••• is no number"),
        ("0777 123 456, 415.555.1234", "•••, •••"),
        ("since 2026-11-28 10:54:03", "since 2026-11-28 10:54:03"),
        ("512 characters, at most 120 of 1000", "512 characters, at most 120 of 1000"),
    ],
)
def test_masked_text_hides_numbers_in_groups(text: str, masked: str) -> None:
    """Telephone and card numbers look like that; dates, limits and codes stay."""
    assert masked_text(text) == masked
