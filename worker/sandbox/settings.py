"""The sandbox's settings: their units, defaults and the sources of the numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

ENVIRONMENT_PREFIX = "INGEST_SANDBOX_"
_TRUTHS = dict.fromkeys(["1", "true", "yes", "on"], True)
_TRUTHS |= dict.fromkeys(["0", "false", "no", "off"], False)


@dataclass(frozen=True, slots=True)
class SandboxSettings:
    """Fixed for the life of a sandbox; faults are what changes while it runs."""

    # Invented credentials, valid nowhere else.
    account_id: str = "SBX-LOCAL-DEV"
    passcode: str = "sandbox-passcode"
    project_token: str = "sandbox-project"  # noqa: S105
    api_key_id: str = "sandbox-key"
    api_secret: str = "sandbox-secret"  # noqa: S105
    public_token: str = "sandbox-public-token"  # noqa: S105

    # CleverTap: 15 uploads and 3 reads at once for an account (vendor page "API Request Limit").
    upload_concurrency: int = 15
    read_concurrency: int = 3
    # 1000 records a call for events (vendor page) and, on the newer page, for profiles.
    max_records: int = 1000
    # Bytes; 0 for no limit. The vendor publishes none: set it to provoke HTTP 413.
    max_body_bytes: int = 0
    # How long an upload takes; recorded responses took some 100 ms, a demo wants none.
    latency_ms: float = 0.0
    # The recorded server closes the connection after every response.
    close_connections: bool = False
    # Properties an event may have; the newer page says 100, configurable for each account.
    event_properties: int = 256
    # The beta that allows objects and lists as property values.
    nested_objects: bool = False
    # Names the vendor refuses although its published list lacks them (513, seen in production).
    restricted_events: tuple[str, ...] = ("Web Page Viewed",)
    # Names an operator discarded in the vendor's dashboard (528).
    discarded_events: tuple[str, ...] = ("Legacy Page View",)
    # Domains with addresses that are refused (515).
    refused_email_domains: tuple[str, ...] = ("undeliverable.example.com",)

    # Read-back. Days are in the account's time zone, which no response names.
    time_zone: str = "UTC"
    # How many times an export is "still in progress", and a count "partial", before the result.
    busy_polls: int = 1
    count_partials: int = 1
    # Reported by clients that met it: four hours after it was made, or one hour unused.
    cursor_life_s: float = 4 * 3600.0
    cursor_idle_s: float = 3600.0
    # No page names it; long enough for twenty polls 30 s apart.
    request_id_life_s: float = 600.0

    # Bloomreach: 6000 requests a minute for an address (vendor page), taken by the second; 0: none.
    bloomreach_requests_per_s: float = 100.0
    unauthorised_event_types: tuple[str, ...] = ("internal_audit",)
    unauthorised_properties: tuple[str, ...] = ("internal_score",)

    # Bodies kept in memory, some 400 bytes each with a 190-byte event; the counts have no bound.
    keep_records: int = 1_000_000
    keep_requests: int = 50

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> SandboxSettings:
        """Read the settings from ``INGEST_SANDBOX_<FIELD>`` variables.

        Lists are comma-separated. ValueError names the variable and the rule it breaks.
        """
        found: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            variable = ENVIRONMENT_PREFIX + field.name.upper()
            if text := environ.get(variable):
                kind = ZoneInfo if field.name == "time_zone" else type(field.default)
                what, read = _READERS[kind]
                try:
                    found[field.name] = read(text)
                except (KeyError, ValueError, OSError):  # ZoneInfo raises each of them
                    raise ValueError(f"{variable}: must be {what}, not {text!r}") from None
        return cls(**found)


def _not_negative(value: float) -> float:
    if not value >= 0:  # as NaN is not
        raise ValueError
    return value


# What a setting has to be, by the type of its default: in words, and read from text.
_READERS: Mapping[Any, tuple[str, Callable[[str], Any]]] = {
    bool: ("true or false", lambda text: _TRUTHS[text.strip().lower()]),
    int: ("a whole number, 0 or more", lambda text: _not_negative(int(text))),
    float: ("a number, 0 or more", lambda text: _not_negative(float(text))),
    str: ("text", str),
    tuple: ("a list", lambda text: tuple(each.strip() for each in text.split(",") if each.strip())),
    ZoneInfo: ("a time zone, as in Europe/Prague", lambda text: ZoneInfo(text).key),
}
