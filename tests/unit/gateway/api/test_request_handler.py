"""Which destination a client's account means."""

from __future__ import annotations

import pytest

from worker.gateway.api.request_handler import find_destination
from worker.settings.destination import Destination, KindSettings
from worker.vendors.clevertap.account import CleverTapAccount

KINDS = {"event": KindSettings(1000)}


def destination(name: str, account_id: str = "") -> Destination:
    """A CleverTap destination."""
    return Destination(name, CleverTapAccount(account_id=account_id), KINDS)


ONE = [destination("main")]
KNOWN = [destination("main", "ACC-1")]
TWO = [destination("eu", "ACC-1"), destination("in")]


@pytest.mark.parametrize(
    ("destinations", "name", "found"),
    [
        (ONE, "anything", "main"),
        (KNOWN, "ACC-1", "main"),
        (KNOWN, "main", "main"),
        (KNOWN, "ACC-2", None),
        (KNOWN, "", None),
        (TWO, "ACC-1", "eu"),
        (TWO, "in", "in"),
        (TWO, "ACC-2", None),
        (TWO, "", None),
        ([], "main", None),
    ],
)
def test_find_destination_given_an_account_or_name_returns_its_destination(
    destinations: list[Destination], name: str, found: str | None
) -> None:
    """A destination is found by name or account; any name works only if nothing can be mixed up."""
    meant = find_destination(destinations, name)
    assert (meant.name if meant else None) == found
