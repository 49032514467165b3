"""The settings of every process: the environment, and the file that defines the destinations.

Nothing is read at import; `Settings.from_env` reads both, and refuses what it does not understand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from ..errors import UnknownDestination
from ..vendors.protocol import VendorAccount
from ..vendors.secret import Secret
from .destination import Destination
from .destinations_file import destinations_path, read_destinations
from .environment import Environment, EnvironmentSettings, Source


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
        environment = Environment(environ)
        redis_url = environment.value("REDIS_URL", str, "")
        broker_url = environment.value("CELERY_BROKER_URL", str, redis_url)
        interval_s = environment.value("INGEST_DRAIN_INTERVAL_S", float, 1.0)
        path = destinations_path(environment.environ)
        destinations = read_destinations(path, environment)
        return cls(
            redis_url=Secret(redis_url),
            broker_url=Secret(broker_url),
            destinations=destinations,
            default_destination=_default(environment, destinations),
            drain_interval_s=interval_s,
            sources=tuple(environment.sources),
        )

    def destination(self, name: str | None = None) -> Destination:
        """Return a destination, or the default; UnknownDestination names the known ones."""
        wanted = name or self.default_destination
        if wanted not in self.destinations:
            known = ", ".join(self.destinations)
            raise UnknownDestination(f"no destination {wanted!r}; there are: {known}")
        return self.destinations[wanted]

    def at(self, account: type[VendorAccount]) -> list[Destination]:
        """Return the destinations at a vendor, which its class of accounts stands for."""
        return [each for each in self.destinations.values() if isinstance(each.account, account)]

    def enabled(self) -> Iterator[Destination]:
        """Return the destinations that are delivered to."""
        return (each for each in self.destinations.values() if each.enabled)


@dataclass(frozen=True, slots=True)
class ProcessSettings(EnvironmentSettings):
    """How a worker and a beat run.

    ``threads`` of a worker; 0 means one for each request that may be in flight, and two more.
    ``heartbeat_path``: a file that a living worker touches every few seconds, if any.
    ``log_format``: "text", or "json" for one object a line.
    ``beat_schedule``: the file in which a beat keeps its schedule.
    """

    threads: int = 0
    heartbeat_path: str = ""
    log_format: Literal["text", "json"] = "text"
    beat_schedule: str = "celerybeat-schedule"

    def check(self) -> None:
        """Raise SettingsError for a negative number of threads."""
        if self.threads < 0:
            raise self.error("threads", f"must be 0 or more, not {self.threads}")


def _default(environment: Environment, destinations: Mapping[str, Destination]) -> str:
    enabled = [name for name, each in destinations.items() if each.enabled]
    first = (enabled or list(destinations))[0]
    chosen: str = environment.value("INGEST_DEFAULT_DESTINATION", str, first)
    if chosen not in destinations:
        text = f"no destination {chosen!r}; there are: {', '.join(destinations)}"
        raise UnknownDestination(f"INGEST_DEFAULT_DESTINATION: {text}")
    return chosen
