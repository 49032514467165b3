"""Runs a few programs as one: starts them, restarts those that end, stops them all in order.

Each program runs in a session of its own, so that Ctrl-C in the terminal reaches only us and we
decide in which order they end. Where the system allows it, they also end if we are killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..connections.backoff import backoff

# A program that ends immediately is not restarted in a tight loop; one that ran for a minute counts
# as started.
FIRST_RESTART_S, MOST_RESTART_S, STEADY_AFTER_S = 1.0, 30.0, 60.0
MOST_LOG_BYTES = 10 * 1024 * 1024
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Program:
    """What to run; ``stop_within_s`` is how long it may take to end after it was asked to."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    stop_within_s: float = 5.0


class Child:
    """A program and its process; its output goes to ``log``."""

    def __init__(self, program: Program, log: Path, clock: Callable[[], float]) -> None:
        self.program = program
        self.log = log
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = self._restart_at = 0.0
        self._restarts = 0

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start it; OSError if it cannot be run at all."""
        if self.log.exists() and self.log.stat().st_size > MOST_LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                [*_terminate_with_us(), *self.program.command],
                env=dict(self.program.env),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._started_at = self._clock()

    def poll(self) -> str | None:
        """Restart it when due; return what happened, if anything did."""
        if self._process is None:
            if self._clock() < self._restart_at:
                return None
            self.start()
            return f"{self.program.name} was restarted"
        code = self._process.poll()
        if code is None:
            return None
        if self._clock() - self._started_at > STEADY_AFTER_S:
            self._restarts = 0
        wait_s = backoff(self._restarts, FIRST_RESTART_S, MOST_RESTART_S)
        self._restarts += 1
        self._process, self._restart_at = None, self._clock() + wait_s
        how = f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"
        return f"{self.program.name} {how}; restarting in {wait_s:g} s; see {self.log}"

    def stop(self, hurry: Callable[[], bool]) -> bool:
        """End it, and wait; False if it was killed: it was too slow, or ``hurry`` returned True."""
        process, self._process = self._process, None
        if process is None:
            return True
        process.terminate()
        deadline = self._clock() + self.program.stop_within_s
        while process.poll() is None:
            if self._clock() >= deadline or hurry():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                return False
            time.sleep(_POLL_S)
        return True


class Supervisor:
    """Several children by name; their logs are in the folder ``logs``."""

    def __init__(self, logs: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._logs = logs
        self._clock = clock
        self.children: dict[str, Child] = {}

    def start(self, program: Program) -> Child:
        self._logs.mkdir(parents=True, exist_ok=True)
        child = Child(program, self._logs / f"{program.name}.log", self._clock)
        child.start()
        self.children[program.name] = child
        return child

    def poll(self) -> list[str]:
        """Restart those that ended, when due; return what happened."""
        return [event for child in self.children.values() if (event := child.poll())]

    def stop(self, order: Sequence[str], hurry: Callable[[], bool] = lambda: False) -> list[str]:
        """End them in ``order``, one after the other; return the names of those killed."""
        children = [self.children.pop(name) for name in order if name in self.children]
        return [child.program.name for child in children if not child.stop(hurry)]


@cache
def _terminate_with_us() -> tuple[str, ...]:
    """Return what to put before a command so that it ends if we are killed, where possible."""
    prefix = ("setpriv", "--pdeathsig", "TERM", "--")
    try:
        subprocess.run([*prefix, "true"], capture_output=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):  # busybox's lacks the option
        return ()
    return prefix
