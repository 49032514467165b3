"""What Celery's processes read for themselves, each from the variable INGEST_ and its name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import get_type_hints

from ..errors import SettingsError
from .converters import CONVERTERS

_LOG_FORMATS = ("text", "json")


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """How a worker and a beat run.

    ``threads`` of a worker; 0 stands for one for each request that may be under way, and two.
    ``heartbeat_path``: a file that a living worker touches every few seconds, if any.
    ``log_format``: "text", or "json" for one object a line.
    ``beat_schedule``: the file in which a beat keeps its schedule.
    """

    threads: int = 0
    heartbeat_path: str = ""
    log_format: str = "text"
    beat_schedule: str = "celerybeat-schedule"

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> ProcessSettings:
        """Read the environment; SettingsError names what is wrong."""
        environ = os.environ if environ is None else environ
        hints = get_type_hints(cls)
        named = {each.name: variable(each.name) for each in fields(cls)}
        found = cls(
            **{
                field: CONVERTERS[hints[field]](name, environ[name])
                for field, name in named.items()
                if environ.get(name)
            }
        )
        if found.log_format not in _LOG_FORMATS:
            raise SettingsError(
                f"INGEST_LOG_FORMAT: must be {' or '.join(_LOG_FORMATS)}, not {found.log_format!r}"
            )
        if found.threads < 0:
            raise SettingsError(f"INGEST_THREADS: must be 0 or more, not {found.threads}")
        return found


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return f"INGEST_{name.upper()}"
