"""A project at Bloomreach: its settings, and what the worker needs to know of the vendor."""

from __future__ import annotations

from dataclasses import dataclass

from worker.vendors.protocol import Kind, Schema, UploadAdapter, VendorAccount
from worker.vendors.secret import NO_SECRET, Secret

# The address of projects without one of their own (page "Authentication").
BASE_URL = "https://api.exponea.com"
MAX_COMMANDS = 50  # page "Batch commands"


@dataclass(frozen=True, slots=True)
class BloomreachAccount(VendorAccount):
    """A project at Bloomreach; without a secret its key is a token of public access.

    ``hard_id`` and ``soft_id`` are the project's names for what producers pass as identity and
    object_id.
    """

    vendor = "bloomreach"
    kinds = (Kind.EVENT, Kind.PROFILE)
    credentials = ("project_token", "api_key_id")
    max_records = MAX_COMMANDS

    project_token: str = ""
    api_key_id: str = ""
    api_secret: Secret = NO_SECRET
    hard_id: str = "registered"
    soft_id: str = "cookie"

    @property
    def public_id(self) -> str:
        return self.project_token

    def gateway_credentials(self) -> tuple[str | None, str]:
        """Return key id and secret; of public access the key alone, which is all a client sends."""
        if secret := self.api_secret.reveal():
            return self.api_key_id, secret
        return None, self.api_key_id

    def schema(self) -> Schema:
        from .schema import BloomreachSchema

        return BloomreachSchema(hard_id=self.hard_id, soft_id=self.soft_id)

    def adapter(self, base_url: str) -> UploadAdapter:
        from .upload import Bloomreach

        return Bloomreach(
            base_url or BASE_URL, self.project_token, self.api_key_id, self.api_secret.reveal()
        )
