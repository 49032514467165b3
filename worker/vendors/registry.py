"""The list of all vendors, and the only one: a new vendor needs a line here."""

from __future__ import annotations

from .bloomreach.account import BloomreachAccount
from .clevertap.account import CleverTapAccount
from .protocol import VendorAccount

_ACCOUNTS: tuple[type[VendorAccount], ...] = (CleverTapAccount, BloomreachAccount)
#: The class of an account at each vendor, by the vendor's name.
VENDORS = {each.vendor: each for each in _ACCOUNTS}
