"""The gateway's settings."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

import pytest

from support.environment import ROOT
from worker.errors import SettingsError
from worker.gateway.settings import GatewaySettings


def test_from_env_reads_each_setting_from_its_variable() -> None:
    """Each setting is read from INGEST_GATEWAY_ and its name, the port from PORT."""
    environ = {
        "PORT": "9000",
        "INGEST_GATEWAY_ACCEPT_VENDOR_CREDENTIALS": "true",
        "INGEST_GATEWAY_CORS_ORIGINS": "https://a.example, https://b.example",
        "INGEST_GATEWAY_REDIS_TIMEOUT_S": "0.5",
        "INGEST_GATEWAY_MAX_DEPTH": "",
    }
    settings = GatewaySettings.from_env(environ)
    assert (settings.port, settings.accept_vendor_credentials) == (9000, True)
    assert settings.cors_origins == ("https://a.example", "https://b.example")
    assert settings.redis_timeout_s == 0.5
    assert settings.max_depth == GatewaySettings().max_depth
    assert {GatewaySettings.variable(each.name) for each in fields(GatewaySettings)} >= set(environ)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "65536"),
        ("PORT", "http"),
        ("INGEST_GATEWAY_PROCESSES", "0"),
        ("INGEST_GATEWAY_MAX_BODY_BYTES", "-1"),
        ("INGEST_GATEWAY_MAX_DEPTH", "201"),
        ("INGEST_GATEWAY_MAX_CONNECTIONS", "0"),
        ("INGEST_GATEWAY_REDIS_TIMEOUT_S", "6"),
        ("INGEST_GATEWAY_RATE_BURST_RECORDS", "0"),
        ("INGEST_GATEWAY_ACCESS_LOG", "yes"),
        ("INGEST_GATEWAY_CORS_ORIGINS", "shop.example"),
        ("INGEST_GATEWAY_CORS_ORIGINS", "https://shop.example/path"),
        ("INGEST_GATEWAY_ACCEPT_VENDOR_CREDENTIALS", "maybe"),
    ],
)
def test_from_env_with_a_wrong_value_names_the_variable(name: str, value: str) -> None:
    """The error names the variable."""
    with pytest.raises(SettingsError, match=f"^{name}: "):
        GatewaySettings.from_env({name: value})


ROW = re.compile(r"^\| `(PORT|INGEST_GATEWAY_\w+)` \|[^|]*\| ([^|]*) \|", re.MULTILINE)


def spelt(default: Any) -> str:
    """Return a default as the docs spell it."""
    if isinstance(default, float):
        return f"{default:g}"
    return {False: "no", (): "none"}.get(default, str(default))


def test_gateway_settings_are_all_documented_with_their_defaults() -> None:
    """docs/configuration.md has a row for each variable of the gateway, with its default."""
    documented = dict(ROW.findall((ROOT / "docs" / "configuration.md").read_text()))
    assert documented == {
        GatewaySettings.variable(each.name): spelt(each.default) for each in fields(GatewaySettings)
    }
