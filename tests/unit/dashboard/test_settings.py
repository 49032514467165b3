"""The dashboard's settings: what is refused at the start, and their documentation."""

from __future__ import annotations

import pytest

from support.environment import ROOT
from worker.dashboard.settings import DashboardSettings
from worker.errors import SettingsError
from worker.gateway.app import build_components
from worker.vendors.secret import Secret

HIDDEN = "correct horse"
USER, PASSWORD, SESSION_S, REFRESH_S = map(
    DashboardSettings.variable, ("user", "password", "session_s", "refresh_s")
)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (SESSION_S, "0"),
        (SESSION_S, "1e300"),
        (SESSION_S, "soon"),
        (REFRESH_S, "-1"),
        (REFRESH_S, "0.01"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(name: str, value: str) -> None:
    """Such as a page that reads Redis a hundred times a second."""
    with pytest.raises(SettingsError, match=name):
        DashboardSettings.from_env({name: value})


def test_settings_are_documented_with_their_defaults() -> None:
    """In docs/configuration.md."""
    usual = DashboardSettings()
    defaults = {
        PASSWORD: "none",
        USER: f"`{usual.user}`",
        SESSION_S: f"{usual.session_s:.0f}",
        REFRESH_S: f"{usual.refresh_s:.0f}",
    }
    rows = [
        [cell.strip() for cell in line.split("|")]
        for line in (ROOT / "docs" / "configuration.md").read_text().splitlines()
        if line.startswith("| `INGEST_DASHBOARD_")
    ]
    assert {row[1].split("`")[1]: row[3] for row in rows} == defaults


def test_password_does_not_appear_in_reprs() -> None:
    """Neither in that of the settings nor in those of the gateway's components."""
    assert HIDDEN not in repr(DashboardSettings(password=Secret(HIDDEN)))
    parts = build_components(
        {"REDIS_URL": "redis://127.0.0.1:1", "INGEST_DASHBOARD_PASSWORD": HIDDEN}
    )
    assert HIDDEN not in repr(parts.dashboard)
