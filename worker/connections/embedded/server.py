"""A private Redis for trying, developing and testing; production wants a maintained one.

It keeps its append-only file in a folder of its own, listens on loopback alone, and runs in a
session of its own: a Ctrl-C meant for us does not reach it, so that we stop it last. One process
at a time owns a folder, by a lock that ends with that process however it ends. A Redis whose owner
was killed keeps running and loses nothing; whoever starts one in the same folder next takes it
over.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlsplit

from redis.exceptions import BusyLoadingError, RedisError

from ...errors import EmbeddedRedisError
from .binaries import RedisBinary, preferred_binary, refuse_downgrade
from .processes import (
    FOLDER,
    POLL_S,
    START_TIMEOUT_S,
    alive,
    answers_as,
    note,
    noted,
    probe,
    running_url,
)

__all__ = ["EmbeddedRedis", "running_url"]

STOP_TIMEOUT_S = 60.0  # a large append-only file is written out before the end
MAXMEMORY = "1gb"  # small enough for a laptop, and room for some 3 million events
_log = logging.getLogger(__name__)


class EmbeddedRedis:
    """A Redis that lives from `start` to `stop`; also a context manager.

    ``appendfsync`` is Redis' own: with "everysec" a crash of the machine costs up to a second of
    records, with "always" none; a crash of Redis alone costs none with either. The port is a free
    one unless given, and stays the same from one start to the next.
    """

    def __init__(
        self,
        folder: Path = FOLDER,
        *,
        appendfsync: Literal["always", "everysec", "no"] = "everysec",
        port: int | None = None,
        maxmemory: str = MAXMEMORY,
        binary: RedisBinary | None = None,
    ) -> None:
        self.folder = folder.resolve()
        self.binary = binary
        self.pid: int | None = None
        self._options = {"appendfsync": appendfsync, "maxmemory": maxmemory}
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None

    @property
    def url(self) -> str:
        """The address to give as REDIS_URL; known once started."""
        if self._port is None:
            raise EmbeddedRedisError("the embedded Redis has no address before it is started")
        return f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> Self:
        """Start, or take over one whose owner is gone, and wait until it answers.

        EmbeddedRedisError when there is no Redis on this machine, when another process uses the
        folder, or when Redis refuses to start (its log's last lines are in the message).
        """
        self._lock = self._own_folder()
        try:
            if not self._take_over():
                self._launch()
        except BaseException:
            self.kill()
            self._release()
            raise
        _log.warning(
            "embedded Redis at %s, for trying and developing; "
            "production wants a maintained Redis 7 or Valkey, named by REDIS_URL",
            self.url,
        )
        return self

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """End Redis as its SHUTDOWN does, with everything on disk; may be repeated.

        EmbeddedRedisError when it has not ended in time; it is then still running and untouched.
        """
        if self.pid is None:
            return
        self._signal(signal.SIGTERM)
        if not self._wait_until_gone(timeout_s):
            raise EmbeddedRedisError(
                f"the embedded Redis (pid {self.pid}) is still writing after {timeout_s:g} s; "
                f"see {self.folder / 'redis.log'}"
            )
        self._release()

    def kill(self) -> None:
        """End Redis as a crash does (SIGKILL): for tests of what survives one."""
        if self.pid is None:
            return
        self._signal(signal.SIGKILL)
        self._wait_until_gone(STOP_TIMEOUT_S)
        self._release()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _own_folder(self) -> int:
        # Others on this machine have no business with the records.
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            where = running_url(self.folder)
            raise EmbeddedRedisError(
                f"another process already runs a Redis in {self.folder}"
                + (f"; use it with REDIS_URL={where}, or stop that process first" if where else "")
            ) from None
        return lock

    def _take_over(self) -> bool:
        """Whether a Redis without an owner still runs here and is now ours."""
        before = noted(self.folder)
        if before is None or not answers_as(*before):
            return False
        self.pid, self._process = before[0], None
        self._port = urlsplit(before[1]).port
        return True

    def _launch(self) -> None:
        binary = self.binary or preferred_binary()
        refuse_downgrade(binary, self.folder)
        given = self._port
        for attempt in range(5):
            self._port = given or _free_port()
            command = [str(binary.path), *self._arguments()]
            with (self.folder / "redis.log").open("ab") as log:
                self._process = subprocess.Popen(
                    command,
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            self.pid = self._process.pid
            note(self.folder, self.pid, self.url)
            if self._wait_until_ready():
                return
            # Somebody else may have taken the port since we found it free.
            if given is not None or attempt == 4 or "in use" not in self._last_words():
                break
        raise EmbeddedRedisError(f"{binary} did not start: {self._last_words()}")

    def _arguments(self) -> Iterator[str]:
        options = {
            "bind": "127.0.0.1",
            "port": str(self._port),
            "protected-mode": "yes",
            "daemonize": "no",
            "dir": str(self.folder),
            # The append-only file holds everything; snapshots beside it would only cost time.
            "appendonly": "yes",
            "save": "",
            # A full Redis refuses the producer; it never throws records away.
            "maxmemory-policy": "noeviction",
            "tcp-backlog": "128",
            **self._options,
        }
        for name, value in options.items():
            yield from (f"--{name}", value)

    def _wait_until_ready(self) -> bool:
        """Whether ours answers; False when it ended instead. Loading is waited for.

        Somebody else's may answer on the port that we found free: then ours ends by itself.
        """
        assert self._process is not None  # noqa: S101 - only called for a process we made
        deadline = time.monotonic() + START_TIMEOUT_S
        with probe(self.url) as client:
            while self._process.poll() is None:
                try:
                    client.ping()  # refused while it loads, and INFO is not
                    if client.info("server")["process_id"] == self._process.pid:
                        return True
                except BusyLoadingError:
                    deadline = time.monotonic() + START_TIMEOUT_S
                except RedisError:
                    if time.monotonic() > deadline:
                        self.kill()
                        return False
                time.sleep(POLL_S)
        return False

    def _last_words(self) -> str:
        lines = (self.folder / "redis.log").read_text(errors="replace").splitlines()
        return " | ".join(line for line in lines[-4:] if line.strip()) or "its log is empty"

    def _signal(self, number: signal.Signals) -> None:
        assert self.pid is not None  # noqa: S101 - callers have looked
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def _wait_until_gone(self, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            gone = self._process.poll() is not None if self._process else not alive(self.pid or 0)
            if gone:
                return True
            time.sleep(POLL_S)
        return False

    def _release(self) -> None:
        self.pid = self._process = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
