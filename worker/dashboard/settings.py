"""The dashboard's settings: all begin with INGEST_DASHBOARD_."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from worker.errors import SettingsError
from worker.settings.converters import Secret, number

USER, PASSWORD = "INGEST_DASHBOARD_USER", "INGEST_DASHBOARD_PASSWORD"
_YEAR_S = 366 * 86_400
SESSION_S, REFRESH_S = "INGEST_DASHBOARD_SESSION_S", "INGEST_DASHBOARD_REFRESH_S"


@dataclass(frozen=True, slots=True)
class DashboardSettings:
    """Who may see it, and for how long; without a password there is no dashboard.

    ``session_s``: a working day, so that a forgotten window is closed by the next morning.
    ``refresh_s``: how often an open page looks again; 0 never. One look costs Redis about a
    millisecond for each destination.
    """

    user: str = "operator"
    password: Secret = field(default_factory=lambda: Secret(""))
    session_s: float = 8 * 3600.0
    refresh_s: float = 10.0

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> DashboardSettings:
        """Read the environment; SettingsError names what is wrong."""
        environ = os.environ if environ is None else environ
        usual = cls()
        settings = cls(
            user=environ.get(USER) or usual.user,
            password=_password(environ),
            session_s=number(SESSION_S, environ.get(SESSION_S) or usual.session_s),
            refresh_s=number(REFRESH_S, environ.get(REFRESH_S) or usual.refresh_s),
        )
        if not 1 <= settings.session_s <= _YEAR_S:
            raise SettingsError(f"{SESSION_S}: must be from 1 to {_YEAR_S}")
        if 0 < settings.refresh_s < 1:
            raise SettingsError(f"{REFRESH_S}: must be 0, or 1 or more")
        return settings

    @property
    def on(self) -> bool:
        """Whether anybody can sign in."""
        return bool(self.password.reveal())


def _password(environ: Mapping[str, str]) -> Secret:
    if given := environ.get(PASSWORD):
        return Secret(given)
    if path := environ.get(f"{PASSWORD}_FILE"):
        try:
            return Secret(Path(path).read_text(encoding="utf-8").strip())
        except OSError as error:
            raise SettingsError(
                f"{PASSWORD}_FILE: cannot read the file: {error.strerror}"
            ) from error
    return Secret("")
