"""The dashboard's settings: all begin with INGEST_DASHBOARD_."""

from __future__ import annotations

from dataclasses import dataclass

from worker.settings.environment import EnvironmentSettings
from worker.vendors.secret import NO_SECRET, Secret

_YEAR_S = 366 * 86_400


@dataclass(frozen=True, slots=True)
class DashboardSettings(EnvironmentSettings):
    """Who may see it, and for how long; without a password there is no dashboard.

    ``session_s``: a working day, so that a forgotten window is closed by the next morning.
    ``refresh_s``: how often an open page refreshes; 0 never. A refresh costs Redis about a
    millisecond for each destination.
    """

    prefix = "INGEST_DASHBOARD_"

    user: str = "operator"
    password: Secret = NO_SECRET
    session_s: float = 8 * 3600.0
    refresh_s: float = 10.0

    def check(self) -> None:
        """Raise SettingsError for a time out of range."""
        if not 1 <= self.session_s <= _YEAR_S:
            raise self.error("session_s", f"must be from 1 to {_YEAR_S}")
        if 0 < self.refresh_s < 1:
            raise self.error("refresh_s", "must be 0, or 1 or more")

    @property
    def on(self) -> bool:
        """Whether anyone can sign in."""
        return bool(self.password.reveal())
