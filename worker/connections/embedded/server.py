"""A private Redis for trying, developing and testing; production wants a maintained one.

It keeps its append-only file in its own folder, listens on loopback only, and runs in its own
session: a Ctrl-C meant for us does not reach it, so that we stop it last. One process at a time
owns a folder, by a lock that ends with that process. If its owner is killed, Redis keeps running
and loses nothing; the next process that starts one in the same folder takes it over.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from redis.exceptions import BusyLoadingError, RedisError

from ...errors import EmbeddedRedisError
from ..file_lock import lock_file
from .processes import (
    FOLDER,
    POLL_S,
    START_TIMEOUT_S,
    RedisBinary,
    alive,
    answers_as,
    preferred_binary,
    probe_client,
    read_address,
    refuse_downgrade,
    running_url,
)

STOP_TIMEOUT_S = 60.0  # a large append-only file is written out first
MAXMEMORY = "1gb"  # small enough for a laptop, and room for some 3 million events
_log = logging.getLogger(__name__)


class EmbeddedRedis:
    """A Redis that runs from `start` to `stop`; also a context manager.

    ``appendfsync`` is Redis' own: with "everysec" a crash of the machine costs up to a second of
    records, with "always" none; a crash of Redis alone costs none with either. Unless given, the
    port is a free one, and stays the same from one start to the next.
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
        """The address for REDIS_URL; known once started."""
        if self._port is None:
            raise EmbeddedRedisError("the embedded Redis has no address before it is started")
        return f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> Self:
        """Start one, or take over one without an owner, and wait until it answers.

        EmbeddedRedisError when this machine has no Redis, when another process uses the folder, or
        when Redis does not start (the message has the last lines of its log).
        """
        self._lock = self._lock_folder()
        try:
            if not self._take_over():
                self._launch()
        except BaseException:
            self.kill()
            raise
        _log.warning(
            "embedded Redis for trying and developing: %s; "
            "production wants a maintained Redis 7 or Valkey: set REDIS_URL",
            self.url,
        )
        return self

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Shut Redis down with everything on disk; may be repeated.

        EmbeddedRedisError when it has not ended in time; it then still runs, untouched.
        """
        if not self._end(signal.SIGTERM, timeout_s):
            raise EmbeddedRedisError(
                f"the embedded Redis (pid {self.pid}) is still writing after {timeout_s:g} s; "
                f"see {self.folder / 'redis.log'}"
            )
        self._release()

    def kill(self) -> None:
        """Kill Redis, as a crash does, for tests of what survives one."""
        self._end(signal.SIGKILL, STOP_TIMEOUT_S)
        self._release()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _lock_folder(self) -> int:
        # Other users of this machine may not read the records.
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        if not lock_file(lock):
            os.close(lock)
            where = running_url(self.folder)
            raise EmbeddedRedisError(
                f"another process already runs a Redis in {self.folder}"
                + (f"; use it with REDIS_URL={where}, or stop that process first" if where else "")
            )
        return lock

    def _take_over(self) -> bool:
        """Take over a Redis that runs here without an owner; return whether there was one."""
        before = read_address(self.folder)
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
            self._port = given or free_port()
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
            (self.folder / "address").write_text(f"{self.pid} {self.url}\n")
            if self._wait_until_ready():
                return
            # Another process may have taken the port since we found it free.
            if given is not None or attempt == 4 or "in use" not in self._log_tail():
                break
        raise EmbeddedRedisError(f"{binary} did not start: {self._log_tail()}")

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
            # A full Redis refuses the producer; it never evicts records.
            "maxmemory-policy": "noeviction",
            "tcp-backlog": "128",
            **self._options,
        }
        for name, value in options.items():
            yield from (f"--{name}", value)

    def _wait_until_ready(self) -> bool:
        """Wait until our process answers, also while it loads; return False if it ends instead.

        Another process' Redis may answer on the port that we found free: then ours ends.
        """
        assert self._process is not None  # noqa: S101 - only called after Popen
        deadline = time.monotonic() + START_TIMEOUT_S
        with probe_client(self.url) as client:
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

    def _log_tail(self) -> str:
        lines = (self.folder / "redis.log").read_text(errors="replace").splitlines()
        return " | ".join(line for line in lines[-4:] if line.strip()) or "its log is empty"

    def _end(self, number: signal.Signals, timeout_s: float) -> bool:
        """Signal Redis, if it runs, and wait; return whether it has ended."""
        if self.pid is None:
            return True
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self._process.poll() is not None if self._process else not alive(self.pid):
                return True
            time.sleep(POLL_S)
        return False

    def _release(self) -> None:
        self.pid = self._process = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def free_port(preferred: int = 0) -> int:
    """Return a free port of loopback: the preferred one, or another when it is taken."""
    for port in (preferred, 0):
        # With SO_REUSEADDR, as servers do: a port is free once its last owner has ended.
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)) as probe:
            return int(probe.getsockname()[1])
    raise EmbeddedRedisError("no port of loopback is free")
