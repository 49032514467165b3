"""The paths that a sign-in may lead to, and what a page says was done before it."""

from __future__ import annotations

import time

import pytest

from worker.dashboard.endpoint import FormRequest, local_path
from worker.dashboard.group import done


@pytest.mark.parametrize("path", ["/", "/audit", "/dead-letters/clevertap/event/0a1b"])
def test_local_path_of_this_site_is_kept(path: str) -> None:
    """A sign-in leads there."""
    assert local_path(path) == path


@pytest.mark.parametrize(
    "path",
    ["//evil.example", "https://evil.example/", "/\\evil.example", "", "/x?y", "/\r\nx", "/a!"],
)
def test_local_path_of_another_site_is_the_first_page(path: str) -> None:
    """No link leads from the sign-in to another site."""
    assert local_path(path) == "/"


def test_local_path_of_a_very_long_text_takes_no_time() -> None:
    """Anyone may send any text, so it is matched in one pass."""
    began = time.monotonic()
    assert local_path(f"/{'a' * 5_000_000}!") == "/"
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({"done": "replayed", "n": "1"}, "1 dead letter replayed: re-enqueued"),
        ({"done": "purged", "n": "1234"}, "1,234 dead letters purged for good"),
        ({"done": "<b>", "n": "1"}, ""),
        ({"done": "purged", "n": "<b>"}, ""),
        ({"done": "purged", "n": "9" * 13}, ""),
        ({}, ""),
    ],
)
def test_done_repeats_nothing_of_the_address(query: dict[str, str], text: str) -> None:
    """Only a known action and a number are shown."""
    request = FormRequest(
        "GET", "/dead-letters", {}, query, {}, {}, "", https=False, same_site=True
    )
    assert done(request).startswith(text)
    assert bool(done(request)) == bool(text)
