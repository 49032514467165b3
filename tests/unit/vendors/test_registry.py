"""Every registered vendor declares what the worker relies on."""

from __future__ import annotations

from dataclasses import fields

import pytest

from worker.settings.destination import Destination
from worker.vendors.protocol import VendorAccount
from worker.vendors.registry import VENDORS


@pytest.mark.parametrize(("name", "account"), VENDORS.items())
def test_vendors_declare_what_the_worker_relies_on(name: str, account: type[VendorAccount]) -> None:
    """A name, kinds, a limit, and credentials among fields that all have defaults."""
    assert account.vendor == name
    assert account.kinds
    assert account.max_records > 0
    keys = {each.name for each in fields(account)}
    assert set(account.credentials) <= keys
    assert account().missing() == list(account.credentials)
    assert not keys & {each.name for each in fields(Destination)}


def test_account_without_a_vendor_offers_nothing() -> None:
    """It stands for a destination that is only in Redis: shown, and asked for nothing."""
    account = VendorAccount()
    assert (account.has_dry_run, account.has_read_back, account.public_id) == (False, False, "")
    assert account.field_of(515) is None
    assert account.gateway_credentials() == (None, "")
