"""Private Redis processes: which one was started last in a folder, and whether it still answers."""

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
START_TIMEOUT_S = 15.0  # to be listening; loading is waited for as long as it takes
POLL_S = 0.02


def running_url(folder: Path = FOLDER) -> str | None:
    """The address of the Redis that runs in ``folder`` now, whoever started it, or None.

    Waits while that Redis loads; EmbeddedRedisError when it lives but does not answer.
    """
    last = noted(folder)
    return last[1] if last and answers_as(*last, patience_s=1.0) else None


def probe(url: str) -> redis.Redis:
    """A client that asks once and does not wait for long."""
    return redis.Redis.from_url(
        url, retry=Retry(NoBackoff(), 0), socket_timeout=0.5, socket_connect_timeout=0.5
    )


def note(folder: Path, pid: int, url: str) -> None:
    """Write down which Redis was started last in ``folder``."""
    (folder / "address").write_text(f"{pid} {url}\n")


def noted(folder: Path) -> tuple[int, str] | None:
    """The process and the address of the Redis that was started last in ``folder``."""
    try:
        pid, url = (folder / "address").read_text().split()
        return int(pid), url
    except (OSError, ValueError):
        return None


def answers_as(pid: int, url: str, patience_s: float = START_TIMEOUT_S) -> bool:
    """Whether the Redis at ``url`` is the process ``pid``; waits while it loads.

    One that is only slow must not be taken for dead: a second one on the same file would spoil it.
    """
    deadline = time.monotonic() + patience_s
    with probe(url) as client:
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
    """Whether the process runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    # A process that ended but was not yet waited for (containers without an init) is gone too.
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return True
