"""The destinations file: what it may hold, and how a wrong value is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from worker.errors import SettingsError
from worker.settings.settings import Settings
from worker.vendors.clevertap.account import CleverTapAccount

SECRETS = {
    "CLEVERTAP_ACCOUNT_ID": "ACC",
    "CLEVERTAP_PASSCODE": "PASS-1",
    "REDIS_URL": "redis://h/0",
}
MINIMAL = """
[destinations.shop]
vendor = "clevertap"
account_id = "${SHOP_ACCOUNT}"
passcode = "${SHOP_PASSCODE}"
%s
[destinations.shop.kinds.event]
batch_records = 1000
%s
"""


def read(tmp_path: Path, destination: str = "", rest: str = "", **environ: str) -> Settings:
    """Settings of a file with one destination."""
    path = tmp_path / "destinations.toml"
    path.write_text(MINIMAL % (destination, rest))
    return Settings.from_env({"INGEST_DESTINATIONS": str(path), **environ})


@pytest.mark.parametrize(
    ("destination", "rest", "named"),
    [
        ("max_waits = 1", "", "destinations.shop.max_waits: not a setting"),
        ('max_attempts = "many"', "", "destinations.shop.max_attempts: must be a whole number"),
        ("max_attempts = 0", "", "destinations.shop.max_attempts: must be above 0"),
        ("max_attempts = true", "", "destinations.shop.max_attempts: must be a whole number"),
        ("max_wait_s = -1", "", "destinations.shop.max_wait_s: must be a number, 0 or more"),
        ("max_wait_s = nan", "", "destinations.shop.max_wait_s: must be a number, 0 or more"),
        ('timezone = "Middle/Earth"', "", "destinations.shop.timezone: must be a time zone"),
        ('ambiguous = "maybe"', "", "destinations.shop.ambiguous: must be retry or dead_letter"),
        ("lease_s = 30", "", "lease_s: must be longer than destinations.shop.request_timeout_s"),
        (
            'base_url = "api.example.com"',
            "",
            "destinations.shop.base_url: must be a scheme and a host",
        ),
        (
            'base_url = "https://u:p@h/"',
            "",
            "destinations.shop.base_url: must be a scheme and a host",
        ),
        (
            "enabled = true",
            "",
            "destinations.shop: enabled, but not set: SHOP_ACCOUNT (destinations.shop.account_id),",
        ),
        ("flood_share = 50", "", "destinations.shop.flood_share: must be 0 to 1"),
        ('name = "other"', "", "destinations.shop.name: not a setting"),
        ("", "[destinations.x]\nvendor = []", "destinations.x.vendor: must be one of"),
        ('enabled = "yes"', "", "destinations.shop.enabled: must be true or false"),
        ("", "[destinations.shop.kinds.order]\nbatch_records = 1", "destinations.shop.kinds.order"),
        ("", "[destinations.shop.kinds.profile]\npartitions = 1", "needs batch_records"),
        ("", "[destinations.shop.kinds]\nprofile = 100", "needs batch_records"),
        ("", "[destinations.shop.kinds.profile]\nbatch_records = 0", "batch_records is 1-5000"),
        ("", '[destinations."a b"]\nvendor = "clevertap"', "destinations.a b: a name is of"),
        ("", '[destinations.x]\nvendor = "acme"', "destinations.x.vendor: must be one of"),
        ("", '[destinations.x]\nvendor = "clevertap"', "destinations.x.kinds: needs at least one"),
        ("", "[other]\nx = 1", "needs [destinations.NAME] tables, and nothing else"),
        ("= 1", "", "destinations.toml"),
    ],
)
def test_wrong_file_is_refused_with_its_place_and_rule(
    tmp_path: Path, destination: str, rest: str, named: str
) -> None:
    """The error names the setting and what it must be."""
    with pytest.raises(SettingsError) as refused:
        read(tmp_path, destination, rest)
    assert named in str(refused.value)


@pytest.mark.parametrize(
    ("variable", "value", "rule"),
    [
        ("INGEST_MAX_WAIT_S", "soon", "must be a number, 0 or more, not 'soon'"),
        ("INGEST_MAX_ATTEMPTS", "0", "must be above 0"),
        ("INGEST_BATCH_MAX_BYTES", "4M", "must be a whole number, not '4M'"),
        ("INGEST_TIMEZONE", "Mars", "must be a time zone, as in Europe/Prague, not 'Mars'"),
        ("CLEVERTAP_BASE_URL", "h/1", "must be a scheme and a host"),
        ("CLEVERTAP_REGION", "eu", "'eu' is not a CleverTap region; known regions: aps3, eu1"),
        ("INGEST_LEASE_S", "30", "must be longer than INGEST_REQUEST_TIMEOUT_S"),
    ],
)
def test_wrong_variable_is_refused_by_its_name(variable: str, value: str, rule: str) -> None:
    """Who set a variable need not know the file that refers to it."""
    with pytest.raises(SettingsError) as refused:
        Settings.from_env({**SECRETS, variable: value})
    assert re.match(rf"{variable} \(destinations\.clevertap\.\w+\): ", str(refused.value))
    assert rule in str(refused.value)


def test_base_url_wins_over_an_unknown_region() -> None:
    """A region that the vendor opens tomorrow can be used by its address."""
    new = {"CLEVERTAP_REGION": "new1", "CLEVERTAP_BASE_URL": "https://new1.vendor.example"}
    account = Settings.from_env({**SECRETS, **new}).destination().account
    assert isinstance(account, CleverTapAccount)
    assert account.region == "new1"


def test_secret_written_into_the_file_is_refused_and_not_repeated(tmp_path: Path) -> None:
    """Files are committed and shared; secrets are named in them, never written."""
    path = tmp_path / "destinations.toml"
    path.write_text(MINIMAL.replace("${SHOP_PASSCODE}", "hunter2") % ("", ""))
    with pytest.raises(SettingsError) as refused:
        Settings.from_env({"INGEST_DESTINATIONS": str(path)})
    assert "destinations.shop.passcode: a secret does not belong in this file" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_several_accounts_of_one_vendor_are_several_destinations(tmp_path: Path) -> None:
    """Names are free; each has its own secrets."""
    other = MINIMAL.replace("shop", "app").replace("SHOP", "APP") % ("", "")
    settings = read(tmp_path, "", other, SHOP_ACCOUNT="1", SHOP_PASSCODE="p", APP_ACCOUNT="2")
    assert list(settings.destinations) == ["shop", "app"]
    assert [each.account.public_id for each in settings.enabled()] == ["1"]


def test_setting_of_another_vendor_is_let_through(tmp_path: Path) -> None:
    """Files that were written when all vendors' keys stood side by side stay valid."""
    destination = read(tmp_path, 'hard_id = "customer_no"').destination()
    assert not hasattr(destination.account, "hard_id")


def test_wrong_value_from_a_file_is_refused_by_the_files_variable(tmp_path: Path) -> None:
    """The error leads to where the value stands."""
    (tmp_path / "wait").write_text("soon")
    with pytest.raises(SettingsError, match=r"^INGEST_MAX_WAIT_S_FILE \(destinations\.clevertap"):
        Settings.from_env({**SECRETS, "INGEST_MAX_WAIT_S_FILE": str(tmp_path / "wait")})
