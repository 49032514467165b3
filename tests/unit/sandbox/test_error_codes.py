"""CleverTap's error codes."""

from __future__ import annotations

from worker.sandbox.error_codes import ErrorCode, of


def test_error_code_of_uses_the_known_or_given_text() -> None:
    """A fault has the vendor's text where it is known."""
    assert of(516).at(3).startswith("Profile data is incorrect. Phone number is not valid.Skipped")
    assert of(599, "Odd.") == ErrorCode(599, "Odd. ")
