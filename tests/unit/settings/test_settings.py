"""Settings as a whole: the default destination, tuning, and that secrets stay hidden."""

from __future__ import annotations

from typing import Any

import pytest

from worker.errors import UnknownDestination
from worker.settings.settings import Settings
from worker.vendors.clevertap.account import CleverTapAccount

SECRETS = {
    "CLEVERTAP_ACCOUNT_ID": "ACC",
    "CLEVERTAP_PASSCODE": "PASS-1",
    "REDIS_URL": "redis://h/0",
}


def account(settings: Settings) -> CleverTapAccount:
    """The account of the default destination."""
    found = settings.destination().account
    assert isinstance(found, CleverTapAccount)
    return found


def test_settings_as_shipped_enable_a_destination_by_its_secrets() -> None:
    """Both vendors are defined; only the one with its secrets set is delivered to."""
    settings = Settings.from_env(SECRETS)
    assert list(settings.destinations) == ["clevertap", "bloomreach"]
    assert [each.name for each in settings.enabled()] == ["clevertap"]
    assert settings.destination().name == "clevertap"


def test_settings_without_secrets_have_a_destination() -> None:
    """Without any vendor secret there is still a destination to enqueue for."""
    settings = Settings.from_env({"REDIS_URL": "redis://h/0"})
    assert settings.destination().name == "clevertap"
    assert not list(settings.enabled())


def test_default_destination_is_the_first_enabled_one() -> None:
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
def test_shipped_file_takes_tuning_from_the_environment(
    variable: str, value: str, name: str, expected: Any
) -> None:
    """Every promised variable reaches the setting it names."""
    settings = Settings.from_env({**SECRETS, variable: value})
    holder = account(settings) if name == "region" else settings.destination("clevertap")
    assert getattr(holder, name) == expected
    shown = {each.name: each for each in settings.sources}[f"destinations.clevertap.{name}"]
    assert shown.origin == f"environment {variable}"


def test_settings_show_no_secret() -> None:
    """Neither printing settings nor listing their sources shows a passcode or a password."""
    settings = Settings.from_env(SECRETS | {"REDIS_URL": "redis://user:hidden@h/0"})
    shown = f"{settings!r} {settings.destinations!r} {settings.sources!r} {settings.redis_url}"
    assert "PASS-1" not in shown
    assert "hidden" not in shown
    assert settings.redis_url.reveal() == "redis://user:hidden@h/0"


def test_unknown_destination_is_refused_with_the_known_ones() -> None:
    """The error alone is enough to fix a misspelt name."""
    with pytest.raises(UnknownDestination, match="there are: clevertap, bloomreach"):
        Settings.from_env(SECRETS).destination("clevertab")
    with pytest.raises(UnknownDestination, match="INGEST_DEFAULT_DESTINATION"):
        Settings.from_env({"INGEST_DEFAULT_DESTINATION": "x"})
