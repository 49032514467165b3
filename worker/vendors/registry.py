"""Which vendor a destination is an account at."""

from __future__ import annotations

from ..settings.destination import Destination
from .bloomreach.upload import BASE_URL as BLOOMREACH_URL
from .bloomreach.upload import Bloomreach
from .clevertap.upload import CleverTap, base_url
from .protocol import UploadAdapter


def clevertap_for(destination: Destination) -> CleverTap:
    """The account at CleverTap; SettingsError for a region or credentials that cannot be used."""
    return CleverTap(
        destination.base_url or base_url(destination.region),
        destination.account_id,
        destination.passcode.reveal(),
    )


def vendor_for(destination: Destination) -> UploadAdapter:
    """The vendor's side of a destination; SettingsError for what cannot be used."""
    if destination.vendor == "clevertap":
        return clevertap_for(destination)
    return Bloomreach(
        destination.base_url or BLOOMREACH_URL,
        destination.project_token,
        destination.api_key_id,
        destination.api_secret.reveal(),
    )
