"""The environment that the processes under test get."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
OWN_PREFIXES = ("BLOOMREACH_", "CELERY_", "CLEVERTAP_", "FLOWER_", "INGEST_", "REDIS_", "SANDBOX_")
OWN_NAMES = ("PORT",)


def is_ours(name: str) -> bool:
    """Whether the project reads this variable."""
    return name.startswith(OWN_PREFIXES) or name in OWN_NAMES


def clear_own_variables(environ: MutableMapping[str, str]) -> None:
    """Remove every variable that the project reads."""
    for name in filter(is_ours, list(environ)):
        del environ[name]


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """The present environment with our commands first on the PATH, and ``given``."""
    path = f"{Path(sys.prefix, 'bin')}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", **given}
