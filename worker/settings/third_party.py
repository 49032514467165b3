"""Variables that other programs read, checked before they do.

Flower, Sentry's and OpenTelemetry's libraries report what they do not understand in tracebacks,
late, or not at all: Flower takes port 99999 for 34463. No text here repeats a secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from ..errors import SettingsError
from ..vendors.secret import NO_SECRET, Secret
from .environment import EnvironmentSettings, secret_of

TRACE_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_DSN = re.compile(r"https?://[^/@\s]+@[^/@\s]+/(?:\S*/)?\d+")
_PORT = re.compile(r"\d{1,5}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ThirdPartySettings(EnvironmentSettings):
    """Variables that other programs read, with their defaults, and the token of /metrics."""

    prefix = ""

    flower_address: str = "127.0.0.1"
    flower_port: str = "5555"
    otel_exporter_otlp_endpoint: str = ""
    otel_exporter_otlp_traces_endpoint: str = ""
    otel_service_name: str = "ingestion-worker"
    otel_sdk_disabled: str = "false"
    sentry_environment: str = "production"
    flower_basic_auth: Secret = NO_SECRET
    ingest_metrics_token: Secret = NO_SECRET
    otel_exporter_otlp_headers: Secret = NO_SECRET
    sentry_dsn: Secret = NO_SECRET


def check_third_party(environ: Mapping[str, str]) -> None:
    """Raise SettingsError for the first value that its program would not understand."""
    check_flower_port(environ)
    flower_logins(environ)
    check_traces(environ)
    dsn = secret_of("SENTRY_DSN", environ).reveal()
    if dsn and not _DSN.fullmatch(dsn):
        raise SettingsError("SENTRY_DSN: must be a DSN, as in https://key@host/42")


def check_flower_port(environ: Mapping[str, str]) -> None:
    """Raise SettingsError if Flower cannot listen on its port."""
    port = environ.get("FLOWER_PORT")
    if port and not (_PORT.fullmatch(port) and 0 < int(port) <= 65535):
        raise SettingsError(f"FLOWER_PORT: must be 1-65535, not {port!r}")


def flower_logins(environ: Mapping[str, str]) -> list[str]:
    """Return Flower's logins, each `name:password`; SettingsError for one that lacks either."""
    given = secret_of("FLOWER_BASIC_AUTH", environ).reveal()
    logins = [login.strip() for login in given.split(",") if login.strip()]
    if not all(all(login.partition(":")) for login in logins):
        raise SettingsError("FLOWER_BASIC_AUTH: must be name:password, several separated by commas")
    return logins


def check_traces(environ: Mapping[str, str]) -> None:
    """Raise SettingsError if an address for spans is not one."""
    for name in TRACE_ENDPOINTS:
        if (address := environ.get(name)) and not _is_http(address):
            raise SettingsError(f"{name}: must be an address, as in http://127.0.0.1:4318")


def _is_http(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # not a port
        return False
