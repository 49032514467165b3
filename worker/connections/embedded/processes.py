"""The process of an embedded Redis: the last one of a folder, and whether it still answers."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from ...errors import EmbeddedRedisError

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
