"""The credentials in a request's headers."""

from __future__ import annotations

import pytest

from worker.gateway.auth import credentials
from worker.gateway.auth.credentials import Credentials


@pytest.mark.parametrize(
    ("header", "presented"),
    [
        ("Basic aWQ6c2VjcmV0", Credentials("id", "secret")),
        ("basic  aWQ6c2VjcmV0 ", Credentials("id", "secret")),
        ("Basic aWQ6YTpi", Credentials("id", "a:b")),
        ("Basic aWQ6", Credentials("", "id")),
        ("Basic aWQ=", None),
        ("Basic Og==", None),
        ("Basic a", None),
        ("Token abc", Credentials("", "abc")),
        ("Bearer abc", Credentials("", "abc")),
        ("Token ", None),
        ("", None),
    ],
)
def test_bloomreach_header_in_each_form_returns_its_credentials(
    header: str, presented: Credentials | None
) -> None:
    """Every form that the vendor's clients use is read; anything else is None."""
    assert credentials.bloomreach(header) == presented
