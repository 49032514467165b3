"""Runs a few programs as one: starts them, restarts those that end, stops them all in order.

Each program runs in a session of its own, so that Ctrl-C in the terminal reaches only us and we
decide in which order they end. Where the system allows it, they also end if we are killed.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
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


# As `telemetry` writes them ("... [warning  ] ..."), and as others do before it is set up.
_PROBLEM = re.compile(
    rb"\[(?:warning|error|critical)\s*\]|^(?:WARNING|ERROR|CRITICAL)\b|^\w*Error: "
)
_TIMESTAMP = re.compile(r"^\S+T\S+ ")
_VARIABLE = re.compile(r"[0-9a-f-]{6,}|\d+")  # ids, counts and durations
_MOST_BYTES = 256 * 1024
_REPEAT_AFTER_S = 30.0


class LogTail:
    """Reads from where it stopped; begins at the end of what is there already."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._shown_at: dict[str, float] = {}
        self._position = path.stat().st_size if path.exists() else 0

    def new_problems(self) -> list[str]:
        """Return the added warnings and errors, without timestamps and recent repetitions."""
        try:
            with self._path.open("rb") as log:
                if log.seek(0, 2) < self._position:
                    self._position = 0  # a new file began
                log.seek(self._position)
                added = log.read(_MOST_BYTES)
        except FileNotFoundError:
            return []
        complete, newline, begun = added.rpartition(b"\n")
        # A line without an end is read again when it has one, unless it is too long to ever fit.
        read = len(added) if len(begun) == _MOST_BYTES else len(complete) + len(newline)
        self._position += read
        found = [line for line in complete.split(b"\n") if _PROBLEM.search(line)]
        lines = [_TIMESTAMP.sub("", line.decode("utf-8", "replace").strip()) for line in found]
        return list(filter(self._is_new, lines))

    def _is_new(self, line: str) -> bool:
        """Return False if a line that differs only in numbers was shown recently."""
        shape, now = _VARIABLE.sub("#", line), self._clock()
        if now - self._shown_at.get(shape, float("-inf")) < _REPEAT_AFTER_S:
            return False
        self._shown_at[shape] = now
        return True


BUILT_IN: Mapping[str, str] = {  # an installed package has no Procfile; a test compares the two
    "web": "python -m worker.gateway",
    "worker": "celery -A worker.app worker --loglevel=INFO --without-gossip --without-mingle",
    "beat": "celery -A worker.app beat --loglevel=INFO",
    # The checkout's config/flower.py takes care of the login; without it, Flower itself reads
    # FLOWER_BASIC_AUTH, which `ingest up` always sets.
    "flower": "celery -A worker.app flower --address=127.0.0.1",
}
CHECKOUT = Path(__file__).parents[2]


def commands(folder: Path = CHECKOUT) -> dict[str, list[str]]:
    """Return the commands by name, split, ready to run from any directory."""
    try:
        lines = read((folder / "Procfile").read_text(encoding="utf-8"))
    except OSError:
        lines = dict(BUILT_IN)
    return {name: _runnable(line, folder) for name, line in lines.items()}


def read(text: str) -> dict[str, str]:
    """Return a Procfile's commands by name; ignore lines that are not `name: command`."""
    named = (line.partition(":") for line in text.splitlines() if not line.startswith("#"))
    return {name.strip(): command.strip() for name, colon, command in named if colon}


def _runnable(line: str, folder: Path) -> list[str]:
    """Use this Python and its celery, and find the files named beside the Procfile."""
    words = shlex.split(line)
    for at, word in enumerate(words):
        option, equals, value = word.rpartition("=")
        if "/" in value and (folder / value).is_file():
            words[at] = f"{option}{equals}{folder / value}"
    prefix = {"celery": [sys.executable, "-m", "celery"], "python": [sys.executable]}
    return [*prefix.get(words[0], words[:1]), *words[1:]]
