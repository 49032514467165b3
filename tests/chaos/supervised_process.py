"""A supervisor like systemd or compose: it keeps a process running, whatever ends it."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from support.environment import ROOT
from support.polling import poll_until
from support.processes import Process

RESTART_AFTER_S = 0.1


class SupervisedProcess:
    """A process that is restarted when it ends, until it is stopped."""

    def __init__(
        self, name: str, command: Sequence[str], env: dict[str, str], folder: Path
    ) -> None:
        self.name = name
        self.endings: Counter[int] = Counter()
        self._command, self._env, self._folder = command, env, folder
        self._stopping = threading.Event()
        self._process = self._start()
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    def says(self, text: str) -> bool:
        """Return whether the current process runs and has written ``text``."""
        process = self._process
        return process.returncode is None and text in process.output()

    def kill(self) -> None:
        """Kill it with SIGKILL; return once another has been started."""
        killed = self._process
        killed.send(signal.SIGKILL)
        poll_until(lambda: self._process is not killed, 30, f"{self.name} is started again")

    def stop(self, within_s: float) -> int:
        """Stop it with SIGTERM and do not restart it; return its exit code."""
        self._stopping.set()
        return self._process.stop(signal.SIGTERM, within_s)

    def end(self) -> None:
        """Kill whatever is left."""
        self._stopping.set()
        self._process.kill()
        self._thread.join(10)
        self._process.kill()

    def _keep(self) -> None:
        while True:
            ended = self._process.popen.wait()
            if self._stopping.is_set():
                return
            self.endings[ended] += 1
            self._stopping.wait(RESTART_AFTER_S)
            if not self._stopping.is_set():
                self._process = self._start()

    def _start(self) -> Process:
        log = self._folder / f"{self.name}.{sum(self.endings.values())}.log"
        with log.open("wb") as out:
            popen = subprocess.Popen(
                self._command,
                env=self._env,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return Process(self.name, popen, log)
