"""What Celery's processes read for themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .environment import EnvironmentSettings


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
