"""Real processes: those of the Procfile and any other command, each ended by its own pid."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.environment import ROOT, environment
from support.polling import PATIENCE_S, poll_until
from support.ports import find_free_port


def procfile() -> dict[str, list[str]]:
    """The Procfile's commands, taken apart, by their names."""
    lines = (ROOT / "Procfile").read_text().splitlines()
    named = (line.split(":", 1) for line in lines if line.strip() and not line.startswith("#"))
    return {name.strip(): shlex.split(command) for name, command in named}


def hurried(command: Sequence[str]) -> list[str]:
    """Return a Procfile command for the application with shorter waits (`hurried_app`)."""
    return ["support.hurried_app" if each == "worker.app" else each for each in command]


@dataclass(slots=True)
class Process:
    """A running command; its group is its own, so that its children end with it."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        """Its process id, which is its group's id too."""
        return self.popen.pid

    @property
    def returncode(self) -> int | None:
        """How it ended; None while it runs."""
        return self.popen.poll()

    def output(self) -> str:
        """What it wrote so far, standard output and error together."""
        return self.log.read_text(errors="replace")

    def wait_for(self, text: str, deadline_s: float = PATIENCE_S) -> str:
        """Its output, once ``text`` is in it; fails at once when the process ends without."""

        def written() -> str:
            ended, output = self.returncode is not None, self.output()
            if ended and text not in output:
                raise AssertionError(f"{self.name} ended without {text!r}:\n{output[-4000:]}")
            return output if text in output else ""

        try:
            return poll_until(written, deadline_s, f"{self.name} writes {text!r}")
        except AssertionError as error:
            error.add_note(self.output()[-4000:])
            raise

    def send(self, number: signal.Signals) -> None:
        """A signal to this process alone; nothing when it has ended."""
        self.popen.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM, deadline_s: float = PATIENCE_S) -> int:
        """Ask it to end, wait for it, and return how it ended."""
        self.send(number)
        return self.popen.wait(deadline_s)

    def kill(self) -> None:
        """End it and its children as a crash does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.popen.wait(60)


class Processes:
    """Starts processes with their logs in one folder, and ends them all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.all: list[Process] = []

    def run(
        self, command: Sequence[str], *, env: Mapping[str, str], name: str = "", cwd: Path = ROOT
    ) -> Process:
        """Start a command with exactly this environment."""
        name = name or Path(command[0]).name
        log = self.folder / f"{len(self.all)}-{name}.log"
        with log.open("wb") as out:
            popen = subprocess.Popen(
                command,
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        process = Process(name, popen, log)
        self.all.append(process)
        return process

    def start(self, name: str, *options: str, env: Mapping[str, str], cwd: Path = ROOT) -> Process:
        """Start a line of the Procfile, options appended, with ``env`` beside the present
        environment: `start("worker", "-n", "a@%h", env={"REDIS_URL": url})`."""
        return self.run([*procfile()[name], *options], env=environment(env), name=name, cwd=cwd)

    def end(self) -> None:
        """Kill what still runs."""
        for process in reversed(self.all):
            process.kill()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Starts real processes; whatever the test leaves running is killed after it."""
    folder = tmp_path / "processes"
    folder.mkdir()
    started = Processes(folder)
    yield started
    started.end()


@pytest.fixture
def free_port() -> int:
    """A port on loopback without a server."""
    return find_free_port()
