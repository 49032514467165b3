"""`ingest settings` in this process: origins, masked secrets, remarks."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from support.commands import CREDENTIALS
from support.environment import ROOT
from worker.cli import ingest
from worker.cli.commands.settings import of_processes
from worker.errors import SettingsError
from worker.settings.settings import Settings


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


def test_of_processes_lists_every_documented_variable() -> None:
    """`ingest settings` leaves out nothing of config/example.env, whichever process reads it."""
    example = (ROOT / "config" / "example.env").read_text()
    variables = dict(re.findall(r"^#?([A-Z][A-Z0-9_]*)=(.*)$", example, re.MULTILINE))
    given = {"CLEVERTAP_BASE_URL": "https://vendor.example"}
    vendors = {name: "x" for name in variables if name.startswith(("CLEVERTAP_", "BLOOMREACH_"))}
    environ = vendors | {name: value for name, value in variables.items() if value} | given
    shown = (*Settings.from_env(environ).sources, *of_processes(environ))
    names = {each.name for each in shown} | {each.origin.split()[-1] for each in shown}
    assert set(variables) - names == set()


@pytest.mark.parametrize(
    ("variable", "value", "rule"),
    [
        ("INGEST_THREADS", "many", "must be a whole number"),
        ("INGEST_THREADS", "-1", "must be 0 or more"),
        ("INGEST_LOG_FORMAT", "xml", "must be text or json"),
        ("FLOWER_PORT", "99999", "must be 1-65535, not '99999'"),
        ("FLOWER_PORT", "web", "must be 1-65535"),
        ("FLOWER_BASIC_AUTH", "hunter2", "must be name:password"),
        ("SENTRY_DSN", "https://hunter2/42", "must be a DSN"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "must be an address"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://:hunter2@h:99999", "must be an address"),
        ("INGEST_DASHBOARD_SESSION_S", "0", "must be from 1 to"),
        ("INGEST_GATEWAY_ACCESS_LOG", "some", "must be all, errors or none"),
        ("PORT", "99999", "must be 0-65535"),
    ],
)
def test_of_processes_wrong_value_is_refused(variable: str, value: str, rule: str) -> None:
    """`ingest settings` names the variable before a process fails to start."""
    with pytest.raises(SettingsError, match=f"^{variable}: {rule}") as refused:
        of_processes({variable: value})
    assert "hunter2" not in str(refused.value)


def test_of_processes_accepts_what_other_programs_understand() -> None:
    """Each of Sentry's and OpenTelemetry's forms of address passes."""
    of_processes(
        {
            "FLOWER_PORT": "5556",
            "FLOWER_BASIC_AUTH": "a:b, c:d:e",
            "SENTRY_DSN": "https://key:old@o1.ingest.example:9000/path/42",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "https://user:pw@collector/otlp",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://[::1]:4318/v1/traces",
        }
    )


def test_of_processes_reads_only_secrets_from_files(tmp_path: Path) -> None:
    """No process reads another variable from a file, so none is shown as if it did."""
    file = tmp_path / "value"
    file.write_text("json")
    named = ("INGEST_LOG_FORMAT", "INGEST_METRICS_TOKEN")
    shown = {each.name: each for each in of_processes({f"{n}_FILE": str(file) for n in named})}
    assert (shown[named[0]].value, shown[named[0]].origin) == ("text", "default")
    assert (shown[named[1]].value, shown[named[1]].origin) == (
        "***",
        "file named by INGEST_METRICS_TOKEN_FILE",
    )
