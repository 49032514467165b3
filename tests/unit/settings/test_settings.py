"""Settings: where values come from, what is refused, and that secrets stay hidden."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from support.environment import ROOT
from worker.cli.commands.settings import of_processes
from worker.errors import SettingsError, UnknownDestination
from worker.settings.settings import Settings
from worker.vendors.clevertap.account import CleverTapAccount
from worker.vendors.secret import Secret

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


def account(settings: Settings) -> CleverTapAccount:
    """The account of the default destination."""
    found = settings.destination().account
    assert isinstance(found, CleverTapAccount)
    return found


def test_as_shipped_a_destination_is_enabled_by_its_secrets() -> None:
    """Both vendors are defined; only the one whose secrets are set is delivered to."""
    settings = Settings.from_env(SECRETS)
    assert list(settings.destinations) == ["clevertap", "bloomreach"]
    assert [each.name for each in settings.enabled()] == ["clevertap"]
    assert settings.destination().name == "clevertap"


def test_a_producer_needs_no_secret() -> None:
    """Without any vendor secret there is still a destination to enqueue for."""
    settings = Settings.from_env({"REDIS_URL": "redis://h/0"})
    assert settings.destination().name == "clevertap"
    assert not list(settings.enabled())


def test_the_first_enabled_destination_is_the_default_unless_one_is_named() -> None:
    """A program that only uses the second vendor need not name it in every call."""
    only_second = {"BLOOMREACH_PROJECT_TOKEN": "t", "BLOOMREACH_API_KEY_ID": "k"}
    assert Settings.from_env(only_second).destination().name == "bloomreach"
    named = only_second | {"INGEST_DEFAULT_DESTINATION": "clevertap"}
    assert Settings.from_env(named).destination().name == "clevertap"


@pytest.mark.parametrize(
    ("variable", "value", "name", "expected"),
    [
        ("INGEST_MAX_WAIT_S", "0.5", "max_wait_s", 0.5),
        ("INGEST_REQUEST_TIMEOUT_S", "7", "request_timeout_s", 7.0),
        ("INGEST_LEASE_S", "120", "lease_s", 120.0),
        ("INGEST_BACKOFF_BASE_S", "0.1", "backoff_base_s", 0.1),
        ("INGEST_BACKOFF_CAP_S", "9", "backoff_cap_s", 9.0),
        ("INGEST_MAX_ATTEMPTS", "2", "max_attempts", 2),
        ("INGEST_RETRY_HORIZON_S", "60", "retry_horizon_s", 60.0),
        ("INGEST_PROBE_INTERVAL_S", "1", "probe_interval_s", 1.0),
        ("INGEST_COUNT_POLL_S", "0", "count_poll_s", 0.0),
        ("INGEST_BATCH_MAX_BYTES", "1000", "batch_max_bytes", 1000),
        ("INGEST_MAX_BUFFERED", "12", "max_buffered", 12),
        ("CLEVERTAP_REGION", "in1", "region", "in1"),
        ("CLEVERTAP_BASE_URL", "http://127.0.0.1:1", "base_url", "http://127.0.0.1:1"),
    ],
)
def test_the_shipped_file_takes_tuning_from_the_environment(
    variable: str, value: str, name: str, expected: Any
) -> None:
    """Every promised variable reaches the setting it names."""
    settings = Settings.from_env({**SECRETS, variable: value})
    holder = account(settings) if name == "region" else settings.destination("clevertap")
    assert getattr(holder, name) == expected
    shown = {each.name: each for each in settings.sources}[f"destinations.clevertap.{name}"]
    assert shown.origin == f"environment {variable}"


def test_every_documented_variable_is_shown() -> None:
    """`ingest settings` leaves out nothing of config/example.env, whichever process reads it."""
    example = (ROOT / "config" / "example.env").read_text()
    variables = dict(re.findall(r"^#?([A-Z][A-Z0-9_]*)=(.*)$", example, re.MULTILINE))
    told = {"CLEVERTAP_BASE_URL": "https://vendor.example"}
    vendors = {name: "x" for name in variables if name.startswith(("CLEVERTAP_", "BLOOMREACH_"))}
    environ = vendors | {name: value for name, value in variables.items() if value} | told
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
def test_what_a_process_would_not_start_with_is_refused(
    variable: str, value: str, rule: str
) -> None:
    """`ingest settings` tells before a process does, by the variable's name."""
    with pytest.raises(SettingsError, match=f"^{variable}: {rule}") as refused:
        of_processes({variable: value})
    assert "hunter2" not in str(refused.value)


def test_what_other_programs_understand_is_let_through() -> None:
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


def test_only_a_secret_of_a_process_is_shown_as_coming_from_a_file(tmp_path: Path) -> None:
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


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    """NAME_FILE is read when NAME is not set; a final line feed is not part of the secret."""
    file = tmp_path / "passcode"
    file.write_text("from-a-file\n")
    given = {"CLEVERTAP_ACCOUNT_ID": "ACC", "CLEVERTAP_PASSCODE_FILE": str(file)}
    settings = Settings.from_env(given)
    assert account(settings).passcode.reveal() == "from-a-file"
    shown = {each.name: each for each in settings.sources}["destinations.clevertap.passcode"]
    assert (shown.value, shown.origin) == ("***", "file named by CLEVERTAP_PASSCODE_FILE")


def test_a_secrets_file_is_text(tmp_path: Path) -> None:
    """An editor's mark is no part of the secret; what is no text is refused and not shown."""
    file = tmp_path / "passcode"
    named = {"CLEVERTAP_ACCOUNT_ID": "ACC", "CLEVERTAP_PASSCODE_FILE": str(file)}
    file.write_bytes(b"\xef\xbb\xbfPASS-1\r\n")
    assert account(Settings.from_env(named)).passcode.reveal() == "PASS-1"
    file.write_bytes(b"\xff\xfeP\x00")
    with pytest.raises(
        SettingsError, match=r"^CLEVERTAP_PASSCODE_FILE: the file is not UTF-8 text"
    ):
        Settings.from_env(named)


def test_secrets_show_themselves_nowhere() -> None:
    """Neither printing settings nor listing their sources tells a passcode or a password."""
    settings = Settings.from_env(SECRETS | {"REDIS_URL": "redis://user:hidden@h/0"})
    shown = f"{settings!r} {settings.destinations!r} {settings.sources!r} {settings.redis_url}"
    assert "PASS-1" not in shown
    assert "hidden" not in shown
    assert settings.redis_url.reveal() == "redis://user:hidden@h/0"


def test_a_secret_is_hidden_in_every_way_of_printing() -> None:
    """Format, repr and str are masked; reveal is the one way in, also after a copy."""
    secret = Secret("s3cret")
    assert "s3cret" not in f"{secret} {secret!r} {secret!s:>9} {secret:>9}"
    assert copy.deepcopy(secret).reveal() == "s3cret"
    assert not str(Secret(""))


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
def test_a_wrong_file_is_refused_with_its_place_and_rule(
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
def test_a_wrong_variable_is_refused_by_its_own_name(variable: str, value: str, rule: str) -> None:
    """Who set a variable need not know the file that refers to it."""
    with pytest.raises(SettingsError) as refused:
        Settings.from_env({**SECRETS, variable: value})
    assert re.match(rf"{variable} \(destinations\.clevertap\.\w+\): ", str(refused.value))
    assert rule in str(refused.value)


def test_an_address_wins_over_a_region_that_nobody_knows_yet() -> None:
    """A region that the vendor opens tomorrow can be used by its address."""
    new = {"CLEVERTAP_REGION": "new1", "CLEVERTAP_BASE_URL": "https://new1.vendor.example"}
    assert account(Settings.from_env({**SECRETS, **new})).region == "new1"


def test_a_secret_written_into_the_file_is_refused_and_not_repeated(tmp_path: Path) -> None:
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


def test_an_unknown_destination_is_told_with_those_there_are() -> None:
    """A misspelt name is mended from the error alone."""
    with pytest.raises(UnknownDestination, match="there are: clevertap, bloomreach"):
        Settings.from_env(SECRETS).destination("clevertab")
    with pytest.raises(UnknownDestination, match="INGEST_DEFAULT_DESTINATION"):
        Settings.from_env({"INGEST_DEFAULT_DESTINATION": "x"})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """Both the destinations file and a secret's file are named by what is wrong with them."""
    with pytest.raises(SettingsError, match=r"destinations file .*: No such file"):
        Settings.from_env({"INGEST_DESTINATIONS": str(tmp_path / "none.toml")})
    with pytest.raises(SettingsError, match="CLEVERTAP_PASSCODE_FILE: cannot read"):
        Settings.from_env({"CLEVERTAP_PASSCODE_FILE": str(tmp_path / "none")})
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(SettingsError, match="CLEVERTAP_PASSCODE_FILE: the file is empty"):
        Settings.from_env({"CLEVERTAP_PASSCODE_FILE": str(tmp_path / "empty")})
