"""`ingest up` from outside: the sample settles, and buffered records survive a stop."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from support.commands import INGEST, Cli, event, json_lines
from support.environment import environment
from support.polling import poll_until
from support.ports import find_free_port
from support.processes import Process, Processes
from support.services import require

# The defaults are for people; the tests should not wait.
QUICK = {"INGEST_MAX_WAIT_S": "0.5", "INGEST_DRAIN_INTERVAL_S": "0.5"}
# Keeps a few records in the buffer until the system is stopped.
SLOW = {"INGEST_MAX_WAIT_S": "600"}


class Up:
    """Starts `ingest up` in its own folder, without REDIS_URL and secrets."""

    def __init__(self, processes: Processes, cwd: Path) -> None:
        self._processes = processes
        self.cwd = cwd
        self.cli = Cli({}, cwd=cwd)
        self._seen: set[int] = set()

    def __call__(self, *options: str, **env: str) -> Process:
        """Start it on its own ports: two systems could both find the usual ones free."""
        ports = [f"--{each}-port={find_free_port()}" for each in ("sandbox", "flower", "web")]
        command = [str(INGEST), "up", *ports, *options]
        return self._processes.run(command, env=environment(env), name="up", cwd=self.cwd)

    def started(self, *options: str, **env: str) -> Process:
        """Start it, and wait until it shows counts."""
        process = self(*options, **env)
        process.wait_for("Ctrl-C stops everything")
        self.children(process)
        return process

    def children(self, process: Process) -> dict[str, psutil.Process]:
        """Return its child processes by name."""
        found = {}
        for child in psutil.Process(process.pid).children(recursive=True):
            self._seen.add(child.pid)
            words = " ".join(child.cmdline())
            parts = ("redis-server", " worker ", " beat ", " flower ", " sandbox ")
            for name in (*parts, "worker.gateway"):
                if name in words:
                    found[name.strip()] = child
        return found

    def child(self, process: Process, name: str) -> psutil.Process:
        """Return the child of that name, once it is there."""
        return poll_until(lambda: [*filter(None, [self.children(process).get(name)])], what=name)[0]

    def strays(self) -> list[int]:
        """Return the children that were seen and still run."""
        return [pid for pid in self._seen if _runs(pid)]


def _runs(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def up(processes: Processes, tmp_path: Path) -> Iterator[Up]:
    """Starts the whole system, and kills what a failed test leaves behind."""
    cwd = tmp_path / "home"
    cwd.mkdir()
    system = Up(processes, cwd)
    yield system
    for pid in system.strays():
        os.kill(pid, signal.SIGKILL)


def test_up_settles_its_sample_and_exits(up: Up) -> None:
    """Without any configuration the system starts, settles its sample, shows that nothing is lost,
    and exits with no process left."""
    process = up("--exit-when-drained", **QUICK)
    output = process.wait_for("Settled")
    assert process.popen.wait(60) == 0
    output = process.output()
    assert re.search(r"event +accepted 10,000 = delivered 9,900 \+ dead 100", output)
    assert re.search(r"profile +accepted 500 = delivered 495 \+ dead 5", output)
    assert re.search(r"event +513 +\d+", output)
    assert "Traceback" not in output
    assert not (up.cwd / "var" / "env").exists()


def test_up_after_ctrl_c_delivers_buffered_records_at_the_next_start(up: Up) -> None:
    """Records in the buffer when everything stops are delivered by the next run, once each."""
    first = up.started("--no-sample", **SLOW)
    sent = up.cli("send", stdin=json_lines(map(event, range(25))))
    assert sent.returncode == 0, sent.stderr
    assert first.stop(signal.SIGINT) == 0
    assert "25 event buffered" in first.output()
    assert up.strays() == []

    second = up("--no-sample", "--exit-when-drained", **QUICK)
    assert second.popen.wait(60) == 0
    assert re.search(r"event +accepted 25 = delivered 25 \+ dead 0", second.output())
    assert up.strays() == []


def test_up_restarts_processes_that_end(up: Up) -> None:
    """A killed worker and a killed Redis are restarted, with every record."""
    process = up.started("--no-sample", **SLOW)
    assert up.cli("send", stdin=json_lines(map(event, range(10)))).returncode == 0
    before = up.child(process, "worker")
    before.kill()
    process.wait_for("worker was killed by signal 9")
    process.wait_for("worker was restarted")
    up.child(process, "redis-server").kill()
    process.wait_for("was restarted with its data")
    assert up.cli.status()["kinds"]["event"]["buffered"] == 10
    assert up.child(process, "worker").pid != before.pid
    assert process.stop(signal.SIGTERM) == 0
    assert up.strays() == []


def test_up_with_ports_in_use_takes_others(up: Up) -> None:
    """If the usual ports are taken, others are used and shown, also to other terminals."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        process = up.started("--no-sample", "--sandbox-port", port, "--flower-port", port, **SLOW)
        output = process.output()
        addresses = re.findall(
            r"^(?:Sandbox|Flower) +(http://127.0.0.1:\d+)/", output, re.MULTILINE
        )
        assert len(set(addresses)) == 2
        assert not any(address.endswith(f":{port}") for address in addresses)
        shared = (up.cwd / "var" / "env").read_text()
        assert f"CLEVERTAP_BASE_URL={addresses[0]}" in shared
        assert process.stop(signal.SIGINT) == 0
    assert up.strays() == []


def test_up_refuses_a_second_system_in_the_same_folder(up: Up) -> None:
    """Two systems do not share a private Redis: the second says so, and leaves the files alone that
    the first shares with other terminals."""
    first = up.started("--no-sample", **SLOW)
    shared = (up.cwd / "var" / "env").read_text()
    second = up("--no-sample")
    assert second.popen.wait(60) == 1
    assert "another process" in second.output()
    assert "Traceback" not in second.output()
    assert up.cli("status").returncode == 0
    assert (up.cwd / "var" / "env").read_text() == shared
    assert first.stop(signal.SIGINT) == 0


def test_up_writes_an_environment_for_other_terminals(up: Up) -> None:
    """The file that the start names is all that another terminal needs: `ingest` is found and finds
    Redis and the sandbox's credentials."""
    process = up.started("--no-sample", **SLOW)
    command = ["sh", "-c", ". var/env && ingest settings"]
    bare = {"PATH": "/usr/bin:/bin", "HOME": str(up.cwd)}
    done = subprocess.run(
        command, cwd=up.cwd, env=bare, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^REDIS_URL +redis://127.0.0.1:\d+/0 +environment", done.stdout, re.MULTILINE)
    assert "environment CLEVERTAP_ACCOUNT_ID" in done.stdout
    assert process.stop(signal.SIGINT) == 0


def test_up_killed_leaves_only_redis_running(up: Up) -> None:
    """Killed without a chance to stop anything, its processes end; Redis, with the data at risk,
    stays, and the next start takes it over."""
    require(
        shutil.which("setpriv"),
        "no setpriv (util-linux) on the PATH: children do not notice their parent's death",
    )
    process = up.started("--no-sample", **SLOW)
    redis = up.child(process, "redis-server")
    process.popen.kill()
    process.popen.wait(60)
    poll_until(lambda: up.strays() == [redis.pid], what="only Redis is left")
    second = up.started("--no-sample", **SLOW)
    assert f"{redis.pid} " in (up.cwd / "var" / "redis" / "address").read_text()
    assert second.stop(signal.SIGINT) == 0
    assert up.strays() == []
