"""Reading back from outside: the real commands, worker and beat, against a running sandbox."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import redis

from support.environment import environment
from support.polling import poll_until
from support.processes import Process, Processes
from support.reading import DAY, NAME, NOW, environment_of, fill, numbers
from worker.buffer import keys
from worker.sandbox.server import Running, running
from worker.sandbox.settings import SandboxSettings

INGEST = str(Path(sys.prefix, "bin", "ingest"))
EVENTS = 100_000
MOST_MEMORY_BYTES = 150 * 1024 * 1024


@pytest.fixture
def sandbox() -> Iterator[Running]:
    """A sandbox that is busy at first, and slow for each page."""
    with running(SandboxSettings(busy_polls=3, count_partials=3)) as started:
        started.state.faults.add({"kind": "delay", "delay_ms": 20, "path": "/1/events.json"})
        yield started


@pytest.fixture
def env(sandbox: Running, redis_url: str) -> Mapping[str, str]:
    """The environment of all our processes."""
    more = {"REDIS_URL": redis_url, "INGEST_MAX_WAIT_S": "0.5"}
    return environment(environment_of(sandbox.url, **more))


class Export:
    """`ingest export` of today to a file, which can be started repeatedly."""

    def __init__(self, processes: Processes, env: Mapping[str, str], out: Path) -> None:
        self.out = out
        self.most_memory_bytes = 0
        self._processes, self._env = processes, env

    def start(self) -> Process:
        """Start, or continue."""
        question = [NAME, "--from", DAY, "--to", DAY, "--batch-size", "1000"]
        command = [INGEST, "export", *question, "--out", str(self.out)]
        return self._processes.run(command, env=self._env, name="export")

    def kept(self) -> int:
        """Return the number of events in the checkpoint."""
        path = self.out.with_name(self.out.name + ".checkpoint")
        return int(json.loads(path.read_bytes())["records"]) if path.exists() else 0

    def reaches(self, process: Process, events: int) -> None:
        """Wait until it has this many, measuring its memory."""

        def reached() -> bool:
            self.look(process)
            assert process.returncode is None, process.output()
            return self.kept() >= events

        poll_until(reached, what=f"{events} events are exported", every_s=0.005)

    def ends(self, process: Process) -> None:
        """Wait until it is done, measuring its memory."""

        def ended() -> bool:
            self.look(process)
            return process.returncode is not None

        poll_until(ended, what="the export ends", every_s=0.005)
        assert process.returncode == 0, process.output()

    def look(self, process: Process) -> None:
        """Record its peak memory, as the kernel counts it."""
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            peaks = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")]
            self.most_memory_bytes = max(self.most_memory_bytes, *peaks, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_export_killed_twice_has_every_event_once(
    sandbox: Running, processes: Processes, env: Mapping[str, str], tmp_path: Path
) -> None:
    """100,000 events, SIGKILL at a fifth and at three fifths: the third run ends with each event
    once, in memory that does not grow with the export."""
    fill(sandbox, EVENTS)
    export = Export(processes, env, tmp_path / "out.jsonl")
    for share in (0.2, 0.6):
        process = export.start()
        export.reaches(process, int(EVENTS * share))
        process.send(signal.SIGKILL)
        assert process.popen.wait(60) == -signal.SIGKILL
        assert export.out.stat().st_size > 0
    third = export.start()
    export.ends(third)
    assert "resuming after" in third.output()
    assert f"{EVENTS} events" in third.output()
    assert numbers(export.out.read_bytes()) == list(range(EVENTS))
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["out.jsonl"]
    assert 0 < export.most_memory_bytes < MOST_MEMORY_BYTES


def ingest(env: Mapping[str, str], *args: str, stdin: str = "", ends: int = 0) -> str:
    """Run `ingest` as a user does; return its output."""
    done = subprocess.run(
        [INGEST, *args],
        input=stdin,
        env=env,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == ends, (done.stdout[-2000:], done.stderr[-2000:])
    return done.stdout


def call(env: Mapping[str, str], task: str, **arguments: str) -> None:
    """Send the worker a task, as Celery's own command does."""
    command = [sys.executable, "-m", "celery", "-A", "worker.app", "call", task]
    asked = [*command, "--kwargs", json.dumps(arguments)]
    subprocess.run(asked, env=env, check=True, capture_output=True, timeout=60)


def test_reconcile_reports_events_that_the_vendor_lost(
    sandbox: Running,
    processes: Processes,
    env: Mapping[str, str],
    redis_client: redis.Redis,
    tmp_path: Path,
) -> None:
    """10,000 events through worker and beat agree; after the vendor loses 7, the command and the
    nightly task report them, and the export task writes those that are left."""
    worker = processes.start("worker", env=env)
    processes.start("beat", "-s", str(processes.folder / "beat"), "--pidfile=", env=env)
    records = [
        {"identity": f"i{n}", "type": "event", "evtName": NAME, "ts": NOW, "evtData": {"n": n}}
        for n in range(10_000)
    ]
    ingest(env, "send", stdin="\n".join(map(json.dumps, records)))
    ingest(env, "wait", "--timeout", "60")
    assert "all 1 agree" in ingest(env, "reconcile")
    assert ingest(env, "count", NAME, "--from", DAY, "--to", DAY) == "10000\n"
    sandbox.state.ledger.remove(lambda row: row.name == NAME, 7)
    assert f"{NAME} on {DAY}: 7 too few" in ingest(env, "reconcile", ends=3)
    redis_client.delete(keys.reconciled("clevertap", DAY))
    call(env, "ingest.reconcile")
    worker.wait_for("delivered and counted differ")
    assert redis_client.exists(keys.reconciled("clevertap", DAY))
    out = tmp_path / "out.jsonl"
    days = {"first": DAY, "last": DAY}
    call(env, "ingest.export", destination="clevertap", event=NAME, path=str(out), **days)
    poll_until(
        lambda: out.exists() and out.read_bytes().count(b"\n") == 9_993, 30, "it is exported"
    )
    assert len(set(numbers(out.read_bytes()))) == 9_993
