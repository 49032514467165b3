"""What `ingest up` brings along, before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.local.system import LocalSystem
from worker.sandbox.settings import SandboxSettings


@pytest.mark.integration
@pytest.mark.parametrize(
    ("given", "zone"),
    [
        ({}, "UTC"),
        ({"INGEST_TIMEZONE": "Asia/Tokyo"}, "Asia/Tokyo"),
        ({"INGEST_TIMEZONE": "Asia/Tokyo", "INGEST_SANDBOX_TIME_ZONE": "UTC"}, "UTC"),
    ],
)
def test_the_sandbox_has_the_days_of_the_destination(
    given: dict[str, str], zone: str, redis_url: str, tmp_path: Path
) -> None:
    """In a zone of its own it would count events on other days than they are delivered on; who
    wants just that says so."""
    system = LocalSystem({"REDIS_URL": redis_url, **given}, tmp_path)
    system.prepare()
    assert SandboxSettings.from_env(system.env).time_zone == zone
