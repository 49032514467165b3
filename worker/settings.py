"""Every setting: where it comes from, what it must look like, and what it is for.

Two sources: the environment (addresses, secrets, process-wide values) and a file that defines the
destinations, in which `${NAME}` and `${NAME:-default}` take values from the environment. Nothing is
read at import; `Settings.from_env` reads both, and refuses what it does not understand.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints
from zoneinfo import ZoneInfo

from .errors import SettingsError, UnknownDestination
from .setting_values import CONVERTERS, Ambiguous, Secret, mask_url, number

VENDORS = {
    "clevertap": (("account_id", "passcode"), ("event", "profile", "token")),
    "bloomreach": (("project_token", "api_key_id"), ("event", "profile")),
}
# Records a request may hold: Bloomreach takes 50 commands (page "Batch commands"); no page of
# CleverTap's allows more than 1000, and 5000 leaves room for accounts that were given more.
MOST_RECORDS = {"clevertap": 5000, "bloomreach": 50}
_REFERENCE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)(?::-([^}]*))?\}")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


@dataclass(frozen=True, slots=True)
class Kind:
    """How records of one kind are batched; ``partitions`` above 0 keep the order per identity."""

    batch_records: int
    partitions: int = 0

    @property
    def ordered(self) -> bool:
        """Whether order per identity is kept."""
        return self.partitions > 0


@dataclass(frozen=True, slots=True)
class Destination:
    """A named account at a vendor. Times are in seconds, sizes in bytes.

    ``lease_s`` must exceed ``request_timeout_s``: a lease that ends while its request is under way
    would send the batch twice. The default of 90 is three times the timeout, which leaves room for
    a worker to be stopped for a moment. ``hard_id`` and ``soft_id`` are what a Bloomreach project
    calls the ids that producers give as identity and object_id.
    """

    name: str
    vendor: str
    kinds: Mapping[str, Kind]
    enabled: bool = False
    region: str = ""
    base_url: str = ""
    timezone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    account_id: str = ""
    passcode: Secret = field(default_factory=lambda: Secret(""))
    project_token: str = ""
    api_key_id: str = ""
    api_secret: Secret = field(default_factory=lambda: Secret(""))
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
    ambiguous: Ambiguous = "retry"
    flood_window: int = 1000
    flood_share: float = 0.5
    event_properties: int = 256
    hard_id: str = "registered"
    soft_id: str = "cookie"
    journal_settlements: int = 1000
    tally_days: int = 35


@dataclass(frozen=True, slots=True)
class Source:
    """One setting as it is shown: its value (secrets masked) and where it came from."""

    name: str
    value: str
    origin: str


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings; addresses may hold a password, so they are secrets too."""

    redis_url: Secret
    broker_url: Secret
    destinations: Mapping[str, Destination]
    default_destination: str
    drain_interval_s: float
    sources: tuple[Source, ...] = field(repr=False)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Settings:
        """Read the environment and the destinations file; SettingsError names what is wrong."""
        return _Reader(os.environ if environ is None else environ).settings()

    def destination(self, name: str | None = None) -> Destination:
        """The destination of that name, or the default; UnknownDestination names the others."""
        wanted = name or self.default_destination
        try:
            return self.destinations[wanted]
        except KeyError:
            known = ", ".join(self.destinations)
            raise UnknownDestination(f"no destination {wanted!r}; there are: {known}") from None

    def enabled(self) -> Iterator[Destination]:
        """The destinations that are delivered to."""
        return (each for each in self.destinations.values() if each.enabled)


def destinations_path(environ: Mapping[str, str]) -> Path:
    """The destinations file: the one named, else the checkout's, else the package's own."""
    if named := environ.get("INGEST_DESTINATIONS"):
        return Path(named)
    package = Path(__file__).parent
    checkout = package.parent / "config" / "destinations.toml"
    return checkout if checkout.exists() else package / "config" / "destinations.toml"


class _Reader:
    """Reads one environment, and notes where each value came from."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.sources: list[Source] = []

    def settings(self) -> Settings:
        redis_url = self._env("REDIS_URL", "", secret=True)
        broker_url = self._env("CELERY_BROKER_URL", redis_url, secret=True)
        interval = number("INGEST_DRAIN_INTERVAL_S", self._env("INGEST_DRAIN_INTERVAL_S", "1"))
        path = destinations_path(self.environ)
        destinations = self._destinations(path)
        return Settings(
            redis_url=Secret(redis_url),
            broker_url=Secret(broker_url),
            destinations=destinations,
            default_destination=self._default(destinations),
            drain_interval_s=interval,
            sources=tuple(self.sources),
        )

    def _lookup(self, name: str) -> tuple[str | None, str]:
        """A value of the environment, or of the file that NAME_FILE names, and its origin."""
        if value := self.environ.get(name):
            return value, f"environment {name}"
        if path := self.environ.get(f"{name}_FILE"):
            try:
                return Path(path).read_text(encoding="utf-8").strip(), f"file named by {name}_FILE"
            except OSError as error:
                raise SettingsError(
                    f"{name}_FILE: cannot read the file: {error.strerror}"
                ) from error
        return None, "default"

    def _env(self, name: str, default: str, *, secret: bool = False) -> str:
        value, origin = self._lookup(name)
        if value is None:
            value = default
        self.sources.append(Source(name, mask_url(value) if secret else value, origin))
        return value

    def _default(self, destinations: Mapping[str, Destination]) -> str:
        enabled = [name for name, each in destinations.items() if each.enabled]
        first = (enabled or list(destinations))[0]
        chosen = self._env("INGEST_DEFAULT_DESTINATION", first)
        if chosen not in destinations:
            raise UnknownDestination(
                f"INGEST_DEFAULT_DESTINATION: no destination {chosen!r}; there are: "
                f"{', '.join(destinations)}"
            )
        return chosen

    def _destinations(self, path: Path) -> dict[str, Destination]:
        try:
            document = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingsError(f"destinations file {path}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"destinations file {path}: {error}") from error
        tables = document.pop("destinations", None)
        if document or not isinstance(tables, dict) or not tables:
            raise SettingsError(
                f"destinations file {path}: needs [destinations.NAME] tables, and nothing else"
            )
        return {name: self._destination(name, table) for name, table in tables.items()}

    def _destination(self, name: str, table: Any) -> Destination:
        where = f"destinations.{name}"
        if not _NAME.fullmatch(name):
            raise SettingsError(
                f"{where}: a name is of a-z, 0-9, - and _, and begins with a letter or digit"
            )
        if not isinstance(table, dict) or table.get("vendor") not in VENDORS:
            raise SettingsError(f"{where}.vendor: must be one of {', '.join(VENDORS)}")
        table = dict(table)
        kinds = self._kinds(where, table["vendor"], table.pop("kinds", None))
        hints = get_type_hints(Destination)
        values: dict[str, Any] = {}
        for key, raw in table.items():
            if key not in hints or key == "name":
                raise SettingsError(
                    f"{where}.{key}: not a setting; there are: {', '.join(sorted(hints))}"
                )
            values[key] = self._value(f"{where}.{key}", hints[key], raw)
        needed, _ = VENDORS[table["vendor"]]
        values.setdefault("enabled", all(values.get(key) for key in needed))
        destination = Destination(name=name, kinds=kinds, **values)
        _check(where, destination, needed)
        self._note_defaults(where, destination, table)
        return destination

    def _note_defaults(
        self, where: str, destination: Destination, table: Mapping[str, Any]
    ) -> None:
        for each in fields(Destination):
            if each.name in table or each.name in ("name", "kinds", "vendor"):
                continue
            self.sources.append(
                Source(f"{where}.{each.name}", str(getattr(destination, each.name)), "default")
            )

    def _kinds(self, where: str, vendor: str, tables: Any) -> dict[str, Kind]:
        allowed = VENDORS[vendor][1]
        if not isinstance(tables, dict) or not tables:
            raise SettingsError(f"{where}.kinds: needs at least one of {', '.join(allowed)}")
        kinds = {}
        for kind, table in tables.items():
            if kind not in allowed:
                raise SettingsError(f"{where}.kinds.{kind}: {vendor} has {', '.join(allowed)}")
            unknown = set(table) - {"batch_records", "partitions"}
            if unknown or "batch_records" not in table:
                raise SettingsError(
                    f"{where}.kinds.{kind}: needs batch_records, and may have partitions"
                )
            values = {
                key: self._value(f"{where}.kinds.{kind}.{key}", int, raw)
                for key, raw in table.items()
            }
            kinds[kind] = Kind(**values)
            most = MOST_RECORDS[vendor]
            if (
                not 1 <= kinds[kind].batch_records <= most
                or not 0 <= kinds[kind].partitions <= 1024
            ):
                raise SettingsError(
                    f"{where}.kinds.{kind}: batch_records is 1-{most}, partitions 0-1024"
                )
        return kinds

    def _value(self, where: str, hint: Any, raw: Any) -> Any:
        origin = "destinations file"
        if isinstance(raw, str) and (reference := _REFERENCE.fullmatch(raw)):
            value, origin = self._lookup(reference[1])
            raw = value if value is not None else (reference[2] or "")
        elif hint is Secret and raw:
            raise SettingsError(f"{where}: a secret is not written down here; name it as ${{NAME}}")
        converted = CONVERTERS[hint](where, raw)
        self.sources.append(Source(where, str(converted), origin))
        return converted


def _check(where: str, destination: Destination, needed: tuple[str, ...]) -> None:
    if destination.enabled and (
        missing := [key for key in needed if not getattr(destination, key)]
    ):
        raise SettingsError(f"{where}: enabled, but {', '.join(missing)} is not set")
    if destination.base_url and not re.match(r"https?://[^/?#@\s]+/?$", destination.base_url):
        raise SettingsError(
            f"{where}.base_url: must be a scheme and a host, as in https://api.clevertap.com"
        )
    if destination.lease_s <= destination.request_timeout_s:
        raise SettingsError(f"{where}.lease_s: must be longer than request_timeout_s")
    at_least_one = (
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
    for key in at_least_one:
        if not getattr(destination, key) > 0:
            raise SettingsError(f"{where}.{key}: must be above 0")
