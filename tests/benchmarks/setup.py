"""The environment of a measurement: a new Redis, the sink, and the measured processes."""

from __future__ import annotations

import http.client
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any

import psutil
import redis

from support.environment import ROOT, environment
from support.polling import poll_until
from support.ports import find_free_port, listens
from support.processes import Process, Processes
from worker.buffer.buffer import Buffer
from worker.connections.clients import worker_client
from worker.connections.embedded.server import EmbeddedRedis
from worker.settings.destination import Destination
from worker.settings.settings import Settings

TESTS = ROOT / "tests"
STEADY = (0.5, 0.95)  # from half of the records to 95 %: the first half includes the ramp-up


@dataclass(frozen=True, slots=True)
class SinkCounts:
    """What the sink received: a time (monotonic seconds) and a number of records per request."""

    times: Sequence[float]
    sizes: Sequence[int]
    ages_ms: Sequence[float]

    @property
    def records(self) -> int:
        """Return the number of all records."""
        return sum(self.sizes)

    def steady(self) -> tuple[float, float]:
        """Return records and requests per second, from half of the records to 95 %."""
        if len(self.times) < 8:
            raise ValueError(f"{len(self.times)} requests are too few for a rate")
        passed, total = 0, self.records
        inside: list[tuple[float, int]] = []
        for at, size in sorted(zip(self.times, self.sizes, strict=True)):
            passed += size
            if STEADY[0] * total <= passed <= STEADY[1] * total:
                inside.append((at, size))
        span = inside[-1][0] - inside[0][0]
        return sum(size for _, size in inside[1:]) / span, (len(inside) - 1) / span

    def age_ms(self, *percents: int) -> list[float]:
        """Return percentiles of the sampled ages in the second half of the requests."""
        cuts = quantiles(self.ages_ms[len(self.ages_ms) // 2 :], n=100)
        return [cuts[each - 1] for each in percents]


class SinkClient:
    """The sink's process, seen from outside."""

    def __init__(self, process: Process, port: int) -> None:
        self.process = process
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def _ask(self, path: str) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def start_over(self, latency_ms: int = 0, *, sample: bool = False) -> None:
        """Reset the counts; respond with this delay from now on."""
        self._ask(f"/set?latency_ms={latency_ms}&sample={int(sample)}")

    def records(self) -> int:
        """Return the number of records received."""
        return int(self._ask("/seen")["records"])

    def seen(self) -> SinkCounts:
        """Return everything it received."""
        reported = self._ask("/seen?whole")
        return SinkCounts(reported["times"], reported["sizes"], reported["ages_ms"])

    def wait_for(self, records: int, deadline_s: float) -> SinkCounts:
        """Wait until it has received this many."""
        poll_until(lambda: self.records() >= records, deadline_s, f"{records} records", 0.05)
        return self.seen()


@dataclass(slots=True)
class Setup:
    """A new Redis, the sink, and the processes on it; `environ` is for our own processes."""

    folder: Path
    server: EmbeddedRedis
    client: redis.Redis
    sink: SinkClient
    processes: Processes
    workers: list[Process] = field(default_factory=list)

    @property
    def environ(self) -> dict[str, str]:
        """Return settings that deliver to the sink."""
        return {
            "REDIS_URL": self.server.url,
            "CLEVERTAP_ACCOUNT_ID": "BENCH",
            "CLEVERTAP_PASSCODE": "bench",
            "CLEVERTAP_BASE_URL": self.sink.url,
            "INGEST_BEAT_SCHEDULE": str(self.folder / "schedule"),
            "MALLOC_ARENA_MAX": "2",  # as in the image; see the Dockerfile
        }

    @property
    def destination(self) -> Destination:
        """Return the destination."""
        return Settings.from_env(self.environ).destination("clevertap")

    @property
    def buffer(self) -> Buffer:
        """Return the destination's buffer."""
        return Buffer(self.client, self.destination)

    def start_workers(self, number: int) -> None:
        """Start this many of the Procfile's workers and one beat; wait until they are ready."""
        for at in range(number):
            options = ("-n", f"bench{at}@%h")
            self.workers.append(self.processes.start("worker", *options, env=self.environ))
        for worker in self.workers:
            worker.wait_for(" ready.", 60)
        self.processes.start("beat", env=self.environ)

    def run_module(self, name: str, *args: str, python: str = sys.executable) -> Process:
        """Start a module of this package, with our Python or another one."""
        command = [python, "-m", *name.split(), *args]
        given = {**self.environ, "PYTHONPATH": str(TESTS)}
        return self.processes.run(command, env=environment(given), name=name.rsplit(maxsplit=1)[-1])

    def wait_until_settled(self, deadline_s: float) -> float:
        """Wait until all records are settled; return the time (monotonic seconds)."""
        buffer = self.buffer
        poll_until(
            lambda: not sum(each.open for each in buffer.status().kinds.values()),
            deadline_s,
            "everything is settled",
            0.05,
        )
        return time.monotonic()

    def redis_cpu_s(self) -> float:
        """Return the CPU seconds of Redis so far, with microsecond resolution."""
        reported = self.client.info("cpu")
        return float(reported["used_cpu_user"]) + float(reported["used_cpu_sys"])

    def workers_cpu_s(self) -> float:
        """Return the CPU seconds of the workers so far."""
        return sum(cpu_s(worker.pid) for worker in self.workers)


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process so far."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


class SetupFactory:
    """Creates a setup per measurement, so that none inherits memory or files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._made = 0

    @contextmanager
    def create(self, latency_ms: int = 0, *, sample: bool = False) -> Iterator[Setup]:
        """Run a new Redis and sink until the end of the block."""
        self._made += 1
        folder = self.folder / f"setup-{self._made}"
        folder.mkdir(parents=True)
        processes = Processes(folder)
        server = EmbeddedRedis(folder / "redis", maxmemory="6gb")
        try:
            server.start()
            client = worker_client(server.url)
            sink = self._sink(processes)
            sink.start_over(latency_ms, sample=sample)
            yield Setup(folder, server, client, sink, processes)
        finally:
            processes.end()
            server.kill()

    def _sink(self, processes: Processes) -> SinkClient:
        port = find_free_port()
        process = processes.run(
            [sys.executable, "-m", "benchmarks.sink", str(port)],
            env=environment({"PYTHONPATH": str(TESTS)}),
            name="sink",
        )
        poll_until(lambda: listens(port), 20, "the sink listens")
        return SinkClient(process, port)
