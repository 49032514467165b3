"""`ingest settings` in this process: origins, masked secrets, remarks."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result

from support.commands import CREDENTIALS
from worker.cli import ingest


def settings(*options: str, **env: str) -> Result:
    """Run `ingest settings` with CleverTap's credentials."""
    return CliRunner().invoke(ingest, ["settings", *options], env={**CREDENTIALS, **env})


def test_settings_show_origins_and_no_secret(tmp_path: Path) -> None:
    """Every setting is shown with its origin; secrets from anywhere are masked."""
    file = tmp_path / "key"
    file.write_text("s3cret-bloomreach\n")
    given = {
        "REDIS_URL": "redis://:s3cret-p@ss@127.0.0.1:1/0",
        "CELERY_BROKER_URL": "redis://127.0.0.1:1/0?password=s3cret-query",
        "BLOOMREACH_API_SECRET_FILE": str(file),
        "FLOWER_BASIC_AUTH": "admin:s3cret-flower",
        "INGEST_MAX_WAIT_S": "7",
    }
    as_table, as_json = settings(**given), settings("--json", **given)
    assert as_table.exit_code == as_json.exit_code == 0
    assert "s3cret" not in as_table.stdout + as_json.stdout
    assert "p@ss" not in as_table.stdout
    assert "ss@127" not in as_table.stdout
    shown = json.loads(as_json.stdout)
    assert shown["destinations.clevertap.max_wait_s"] == {
        "value": "7.0",
        "origin": "environment INGEST_MAX_WAIT_S",
    }
    assert shown["destinations.bloomreach.api_secret"]["value"] == "***"
    assert shown["FLOWER_BASIC_AUTH"]["value"] == "***"


def test_settings_with_likely_mistakes_remark_on_them() -> None:
    """Half of a vendor's credentials, and a misspelt variable: remarks, for neither is an error."""
    done = settings(
        "--json",
        CLEVERTAP_PASSCODE="",
        INGEST_MAX_ATTEMPS="3",
        INGEST_MAX_WAIT_S="7",
        INGEST_SANDBOX_FAULTS="none",
    )
    assert done.exit_code == 0
    assert json.loads(done.stdout)
    assert done.stderr.splitlines() == [
        "destinations.clevertap: not enabled: passcode is not set",
        "INGEST_MAX_ATTEMPS: set, but no setting has this name",
    ]
