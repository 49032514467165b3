"""A Bloomreach account: its settings reach the schema and the adapter."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.errors import SettingsError
from worker.settings.destination import Destination
from worker.settings.settings import Settings
from worker.vendors.bloomreach.account import BASE_URL, MAX_COMMANDS, BloomreachAccount
from worker.vendors.bloomreach.upload import Bloomreach
from worker.vendors.registry import VENDORS
from worker.vendors.secret import Secret

FILE = """
[destinations.crm]
vendor = "bloomreach"
project_token = "project"
api_key_id = "key"
hard_id = "customer_no"
[destinations.crm.kinds.event]
batch_records = %d
"""


def destination(folder: Path, batch_records: int = 50) -> Destination:
    """The destination of a file with batches of that size."""
    file = folder / "destinations.toml"
    file.write_text(FILE % batch_records)
    return Settings.from_env({"INGEST_DESTINATIONS": str(file)}).destination("crm")


def test_batch_records_above_the_vendors_limit_are_refused(tmp_path: Path) -> None:
    """What the vendor does with more is not published: it never gets to see it."""
    assert VENDORS["bloomreach"].max_records == MAX_COMMANDS
    assert destination(tmp_path, 50).kinds["event"].batch_records == 50
    with pytest.raises(SettingsError, match="batch_records is 1-50"):
        destination(tmp_path, 51)


def test_schema_uses_the_projects_names_for_ids(tmp_path: Path) -> None:
    """A producer's identity becomes the id that the project calls its own."""
    made = destination(tmp_path).account.schema().event("view", {}, ids={"identity": "42"}, ts=None)
    assert made["customer_ids"] == {"customer_no": "42"}


def test_adapter_is_made_of_the_account() -> None:
    """Private access with a secret, public without, and the vendor's address unless given."""
    account = BloomreachAccount(project_token="p", api_key_id="k", api_secret=Secret("s"))
    vendor = account.adapter("")
    assert isinstance(vendor, Bloomreach)
    assert vendor.base_url == BASE_URL
    # The secret itself, not the stars it shows.
    assert vendor.probe().headers["Authorization"] == "Basic azpz"
