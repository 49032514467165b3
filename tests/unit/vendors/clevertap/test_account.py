"""A CleverTap account: its region, and the fields that codes are about."""

from __future__ import annotations

import pytest

from worker.errors import SettingsError
from worker.vendors.clevertap.account import REGIONS, CleverTapAccount, base_url_of


@pytest.mark.parametrize("region", REGIONS)
def test_base_url_of_a_region_is_its_host(region: str) -> None:
    """A region's address is its host, however its name is spelt."""
    host = "api.clevertap.com" if region == "eu1" else f"{region}.api.clevertap.com"
    assert base_url_of(f" {region.upper()} ") == f"https://{host}"


def test_base_url_of_an_unknown_region_names_the_known_ones() -> None:
    """Whoever mistypes a region reads which there are."""
    with pytest.raises(SettingsError, match=r"'mars1'.*aps3, eu1, in1, mec1, sg1, us1"):
        base_url_of("mars1")


def test_problems_with_an_unknown_region_need_an_address() -> None:
    """A region that the vendor opens tomorrow can be used by its address."""
    account = CleverTapAccount(region="new1")
    assert [key for key, _ in account.problems("")] == ["region"]
    assert list(account.problems("https://new1.vendor.example")) == []


@pytest.mark.parametrize(("code", "field"), [(515, "profileData.Email"), (512, None), (None, None)])
def test_field_of_a_code_is_its_path(code: int | None, field: str | None) -> None:
    """The dashboard marks the field of a dead letter that its code is about."""
    assert CleverTapAccount().field_of(code) == field
