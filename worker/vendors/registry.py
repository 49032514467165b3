"""The vendors there are: the only place that knows them all."""

from __future__ import annotations

from .bloomreach.account import BloomreachAccount
from .clevertap.account import CleverTapAccount
from .protocol import VendorAccount

_ACCOUNTS: tuple[type[VendorAccount], ...] = (CleverTapAccount, BloomreachAccount)
#: What an account at each vendor is made of, by the vendor's name.
VENDORS = {each.vendor: each for each in _ACCOUNTS}
