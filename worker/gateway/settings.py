"""The gateway's own settings: all begin with INGEST_GATEWAY_, but PORT, which platforms set."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Literal

from worker.settings.environment import EnvironmentSettings

_ORIGIN = re.compile(r"https?://[^/?#@\s*]+|\*")
MAX_REDIS_TIMEOUT_S = 5.0  # a call's result is kept for a repeat, twice as long
MAX_DEPTH = 200  # orjson writes at most 254 levels, and a rejected record is sent back
_ABOVE_0 = (
    "processes",
    "max_body_bytes",
    "max_unfolded_bytes",
    "max_depth",
    "body_timeout_s",
    "max_connections",
    "redis_timeout_s",
    "max_waiting_bytes",
)


@dataclass(frozen=True, slots=True)
class GatewaySettings(EnvironmentSettings):
    """How the gateway serves; sizes in bytes, times in seconds.

    ``host`` is loopback by default: a proxy in front adds TLS.
    ``max_body_bytes`` bounds a body as it is received, ``max_unfolded_bytes`` as decompressed;
    the vendor's largest call, 1000 events, has about 200 KB.
    ``rate_records_per_s`` and ``rate_burst_records`` apply per producer's key and gateway
    process; 0 means no limit. The default is above what one process accepts in single
    records, so it only limits bulk loads.
    ``body_timeout_s`` bounds the time for a request's headers, then for its body. A client that
    reads nothing of its response for that long, or at most twice that, is disconnected.
    ``max_connections`` applies per process; an idle connection takes about 10 KB, and one
    in the middle of its headers 60 KB more. A lower limit on open files takes precedence.
    ``redis_timeout_s`` bounds a call to Redis; if its reply is lost, it is repeated once.
    ``max_waiting_bytes`` bounds the records that wait in memory for their call to Redis.
    ``ready_tick_s`` is how old the last drain may be for /readyz to pass; 0 ignores its age.
    ``access_log``: a line for every request costs a tenth of the rate, so "errors" is the default.
    """

    prefix = "INGEST_GATEWAY_"
    variables: ClassVar = {"port": "PORT"}

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
    access_log: Literal["all", "errors", "none"] = "errors"

    def check(self) -> None:
        """Raise SettingsError for a value out of range."""
        for name in _ABOVE_0:
            if not getattr(self, name) > 0:
                raise self.error(name, "must be above 0")
        if not 0 <= self.port <= 65535:
            raise self.error("port", "must be 0-65535")
        if self.redis_timeout_s > MAX_REDIS_TIMEOUT_S:
            raise self.error("redis_timeout_s", f"must be at most {MAX_REDIS_TIMEOUT_S:g}")
        if self.max_depth > MAX_DEPTH:
            raise self.error("max_depth", f"must be at most {MAX_DEPTH}")
        if self.rate_records_per_s and self.rate_burst_records < 1:
            raise self.error("rate_burst_records", "must be 1 or more")
        if not all(map(_ORIGIN.fullmatch, self.cors_origins)):
            raise self.error("cors_origins", "must be origins such as https://shop.example, or *")
