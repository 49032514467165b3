"""The gateway's own settings: all begin with INGEST_GATEWAY_, but PORT, which platforms set."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, get_type_hints

from worker.errors import SettingsError
from worker.settings.converters import CONVERTERS

PREFIX = "INGEST_GATEWAY_"
ACCESS_LOGS = ("all", "errors", "none")
_ORIGIN = re.compile(r"https?://[^/?#@\s*]+|\*")
MOST_REDIS_TIMEOUT_S = 5.0  # a call's result is kept for a repeat, twice as long
MOST_DEPTH = 200  # orjson writes no deeper than 254 levels, and a refused record is sent back


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """How the gateway serves; sizes in bytes, times in seconds.

    ``host`` is loopback unless told otherwise: what stands before it adds TLS.
    ``max_body_bytes`` bounds a body as it comes, ``max_unfolded_bytes`` what gzip makes of it;
    the vendor's largest call, 1000 events, has about 200 KB.
    ``rate_records_per_s`` and ``rate_burst_records`` are for each producer's key and each gateway
    process; 0 stands for no limit. The default is above what one process takes in single
    records, so it only meets bulk loads.
    ``body_timeout_s`` is how long a body may take to come, as long its headers before it, and as
    long, or twice, a client may read nothing of its answer.
    ``max_connections`` is for each process; an idle connection takes some 10 KB, and one whose head
    is on its way 60 KB more. Where the process may open fewer files, the system is first.
    ``redis_timeout_s`` is how long a call to Redis may take; a lost answer is asked for once more.
    ``max_waiting_bytes`` bounds the records that wait in memory for their call to Redis.
    ``ready_tick_s`` is how old the last drain may be for /readyz; 0 does not look at it.
    ``access_log``: a line for every request costs a tenth of the rate, so "errors" is the default.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    processes: int = 1
    accept_vendor_credentials: bool = False
    max_body_bytes: int = 8 * 1024 * 1024
    max_unfolded_bytes: int = 16 * 1024 * 1024
    max_depth: int = 32
    body_timeout_s: float = 30.0
    max_connections: int = 10_000
    rate_records_per_s: float = 20_000.0
    rate_burst_records: float = 40_000.0
    redis_timeout_s: float = 1.0
    max_waiting_bytes: int = 64 * 1024 * 1024
    ready_tick_s: float = 60.0
    cors_origins: tuple[str, ...] = ()
    access_log: str = "errors"

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> GatewaySettings:
        """Read the environment; SettingsError names what is wrong."""
        environ = os.environ if environ is None else environ
        hints = get_type_hints(cls)
        values: dict[str, Any] = {}
        for each in fields(cls):
            name = variable(each.name)
            if raw := environ.get(name):
                values[each.name] = _value(name, hints[each.name], raw)
        settings = cls(**values)
        _check(settings)
        return settings


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return "PORT" if name == "port" else f"{PREFIX}{name.upper()}"


def _value(name: str, hint: Any, raw: str) -> Any:
    if hint == tuple[str, ...]:
        return tuple(filter(None, (part.strip() for part in raw.split(","))))
    return CONVERTERS[hint](name, raw)


def _check(settings: GatewaySettings) -> None:
    above_0 = (
        "processes",
        "max_body_bytes",
        "max_unfolded_bytes",
        "max_depth",
        "body_timeout_s",
        "max_connections",
        "redis_timeout_s",
        "max_waiting_bytes",
    )
    for name in above_0:
        if not getattr(settings, name) > 0:
            raise SettingsError(f"{variable(name)}: must be above 0")
    if not 0 <= settings.port <= 65535:
        raise SettingsError("PORT: must be 0-65535")
    if settings.redis_timeout_s > MOST_REDIS_TIMEOUT_S:
        raise SettingsError(
            f"{variable('redis_timeout_s')}: must be at most {MOST_REDIS_TIMEOUT_S:g}"
        )
    if settings.max_depth > MOST_DEPTH:
        raise SettingsError(f"{variable('max_depth')}: must be at most {MOST_DEPTH}")
    if settings.rate_records_per_s and settings.rate_burst_records < 1:
        raise SettingsError(f"{variable('rate_burst_records')}: must be 1 or more")
    if settings.access_log not in ACCESS_LOGS:
        raise SettingsError(f"{variable('access_log')}: must be one of {', '.join(ACCESS_LOGS)}")
    for origin in settings.cors_origins:
        if not _ORIGIN.fullmatch(origin):
            raise SettingsError(
                f"{variable('cors_origins')}: must be origins such as https://shop.example, or *"
            )
