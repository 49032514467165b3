"""A destination: a named account at a vendor, its settings for delivery, and their checks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal
from zoneinfo import ZoneInfo

from ..errors import SettingsError
from ..vendors.protocol import VendorAccount

# A destination's name: no character with a meaning in a Redis key or a URL.
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
MAX_PARTITIONS = 1024
_BASE_URL = re.compile(r"https?://[^/?#@\s]+/?$")
_ABOVE_0 = (
    "concurrency",
    "concurrency_limit",
    "max_attempts",
    "max_deaths",
    "batch_max_bytes",
    "max_buffered",
    "flood_window",
    "tally_days",
    "request_timeout_s",
)


@dataclass(frozen=True, slots=True)
class KindSettings:
    """How records of one kind are batched; ``partitions`` above 0 keep the order per identity.

    ``batch_records`` is 0 for a kind that was removed from the configuration: it is not delivered.
    """

    batch_records: int
    partitions: int = 0

    @property
    def ordered(self) -> bool:
        return self.partitions > 0


@dataclass(frozen=True, slots=True)
class Destination:
    """A named account at a vendor. Times are in seconds, sizes in bytes.

    ``lease_s`` must exceed ``request_timeout_s``: a lease that ends while its request is in flight
    would send the batch twice. The default of 90 is three times the timeout, which leaves room for
    a worker that is paused for a moment.
    """

    name: str
    account: VendorAccount
    kinds: Mapping[str, KindSettings]
    enabled: bool = False
    base_url: str = ""
    timezone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    concurrency: int = 3
    concurrency_limit: int = 15
    requests_per_s: int = 0
    batch_max_bytes: int = 4 * 1024 * 1024
    max_wait_s: float = 5.0
    request_timeout_s: float = 30.0
    lease_s: float = 90.0
    backoff_base_s: float = 1.0
    backoff_cap_s: float = 300.0
    max_attempts: int = 5
    max_deaths: int = 3
    retry_horizon_s: float = 86400.0
    probe_interval_s: float = 60.0
    count_poll_s: float = 30.0
    max_buffered: int = 5_000_000
    ambiguous: Literal["retry", "dead_letter"] = "retry"
    flood_window: int = 1000
    flood_share: float = 0.5
    journal_settlements: int = 1000
    tally_days: int = 35

    @property
    def vendor(self) -> str:
        return self.account.vendor

    @property
    def sends_once(self) -> bool:
        """Whether nothing may be sent twice: what may have arrived is left to the operators."""
        return self.ambiguous == "dead_letter"


def lacking(destination: Destination) -> list[str]:
    """Return the credentials that keep a destination from being enabled, if some others are set."""
    missing, needed = destination.account.missing(), destination.account.credentials
    return missing if not destination.enabled and len(missing) < len(needed) else []


def check(destination: Destination, named: Callable[[str], str]) -> None:
    """Raise SettingsError for values that do not fit; ``named`` returns a setting's name."""
    account = destination.account
    if destination.enabled and (missing := ", ".join(map(named, account.missing()))):
        raise SettingsError(f"{named('')}: enabled, but not set: {missing}")
    for key, rule in (*_problems(destination, named), *account.problems(destination.base_url)):
        raise SettingsError(f"{named(key)}: {rule}")


def _problems(destination: Destination, named: Callable[[str], str]) -> Iterator[tuple[str, str]]:
    """Yield each setting with a value that does not fit, and the rule."""
    if destination.base_url and not _BASE_URL.match(destination.base_url):
        yield "base_url", "must be a scheme and a host, as in https://api.clevertap.com"
    if destination.lease_s <= destination.request_timeout_s:
        timeout, given = named("request_timeout_s"), destination.request_timeout_s
        yield "lease_s", f"must be longer than {timeout}, which is {given:g}"
    for key in _ABOVE_0:
        if not getattr(destination, key) > 0:
            yield key, "must be above 0"
    if destination.flood_share > 1:
        yield "flood_share", "must be 0 to 1, as in 0.5"
    most = destination.account.max_records
    for name, kind in destination.kinds.items():
        if not 1 <= kind.batch_records <= most or not 0 <= kind.partitions <= MAX_PARTITIONS:
            yield f"kinds.{name}", f"batch_records is 1-{most}, partitions 0-{MAX_PARTITIONS}"
