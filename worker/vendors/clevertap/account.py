"""An account at CleverTap: its settings, and what the worker needs to know of the vendor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from worker.errors import SettingsError
from worker.vendors.protocol import Kind, Schema, UploadAdapter, VendorAccount
from worker.vendors.secret import NO_SECRET, Secret

# The page "Common API components". ``eu1`` is the dashboard's word for the default host.
REGIONS = {"eu1": "https://api.clevertap.com"} | {
    region: f"https://{region}.api.clevertap.com"
    for region in ("in1", "sg1", "us1", "aps3", "mec1")
}


@dataclass(frozen=True, slots=True)
class CleverTapAccount(VendorAccount):
    """An account at CleverTap; ``event_properties`` and ``nested_objects`` are its own limits."""

    vendor = "clevertap"
    kinds = (Kind.EVENT, Kind.PROFILE, Kind.TOKEN)
    credentials = ("account_id", "passcode")
    # No page allows more than 1000; 5000 leaves room for accounts that were given more.
    max_records = 5000
    has_dry_run = True
    has_read_back = True
    # The field that a code is about, where it is about one (page "Errors").
    fields_by_code: ClassVar = {
        509: "evtName",
        513: "evtName",
        514: "profileData.Gender",
        515: "profileData.Email",
        516: "profileData.Phone",
        517: "profileData.Employed",
        518: "profileData.Education",
        519: "profileData.Married",
        520: "profileData.Age",
        523: "identity",
        525: "ts",
        526: "objectId",
        528: "evtName",
    }

    region: str = ""
    account_id: str = ""
    passcode: Secret = NO_SECRET
    event_properties: int = 256
    nested_objects: bool = False

    @property
    def public_id(self) -> str:
        return self.account_id

    def gateway_credentials(self) -> tuple[str | None, str]:
        return self.account_id, self.passcode.reveal()

    def problems(self, base_url: str) -> Iterator[tuple[str, str]]:
        """Yield an unknown region, unless an address takes its place."""
        try:
            base_url or base_url_of(self.region)
        except SettingsError as error:
            yield "region", str(error)

    def schema(self) -> Schema:
        from .schema import CleverTapSchema

        return CleverTapSchema(self.event_properties, nested=self.nested_objects)

    def adapter(self, base_url: str) -> UploadAdapter:
        from .upload import CleverTap

        address = base_url or base_url_of(self.region)
        return CleverTap(address, self.account_id, self.passcode.reveal())


def base_url_of(region: str) -> str:
    """Return the address of a region, such as ``in1``; SettingsError lists the known ones."""
    url = REGIONS.get(region.strip().lower() or "eu1")
    if url is None:
        known = ", ".join(sorted(REGIONS))
        raise SettingsError(f"{region[:40]!r} is not a CleverTap region; known regions: {known}")
    return url
