"""Addresses that the transport refuses."""

from __future__ import annotations

import pytest

from worker.errors import SettingsError
from worker.vendors.transport import Transport


@pytest.mark.parametrize(
    "base_url", ["", "http://", "ftp://vendor", "vendor.example", "http://vendor:99999"]
)
def test_transport_invalid_address_is_refused_at_start(base_url: str) -> None:
    """A mistake in the address is reported when the worker starts, before a batch meets it."""
    with pytest.raises(SettingsError, match="base_url"):
        Transport(base_url, timeout_s=1.0)
