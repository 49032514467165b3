"""What `ingest up` provides, before it starts anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from worker.local.system import LocalSystem
from worker.sandbox.settings import SandboxSettings


@pytest.mark.parametrize(
    ("given", "zone"),
    [
        ({}, "UTC"),
        ({"INGEST_TIMEZONE": "Asia/Tokyo"}, "Asia/Tokyo"),
        ({"INGEST_TIMEZONE": "Asia/Tokyo", "INGEST_SANDBOX_TIME_ZONE": "UTC"}, "UTC"),
    ],
)
def test_prepare_gives_the_sandbox_the_destinations_time_zone(
    given: dict[str, str], zone: str, redis_url: str, tmp_path: Path
) -> None:
    """In another zone it would count events on other days; a setting can still choose that."""
    system = LocalSystem({"REDIS_URL": redis_url, **given}, tmp_path)
    system.prepare(sandbox_port=8090, flower_port=5555, web_port=8000)
    assert SandboxSettings.from_env(system.env).time_zone == zone
