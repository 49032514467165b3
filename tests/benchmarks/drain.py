"""How fast buffered records reach the vendor: ours, the floor, and the alternatives."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

from celery import Celery

from benchmarks import floor, samples
from benchmarks.program_options import Options
from benchmarks.results import Contender, Results, in_turn
from benchmarks.setup import Setup, SetupFactory
from support.environment import ROOT

SECTION = "drain"
FLOOR = "floor: LPOP, join, POST"
DEADLINE_S = 180.0
LIMIT = 15  # concurrent requests that the vendor allows


@dataclass(frozen=True, slots=True)
class Yardstick:
    """A Celery application to compare with, and the Python that runs it."""

    name: str
    module: str
    task: str
    queue: str
    python: str = sys.executable

    def version(self, package: str) -> str:
        """Return the version of a package in its environment."""
        program = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))"
        command = [self.python, "-c", program, package]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


BATCHED = Yardstick(
    "celery-batches, 1000 a flush",
    "benchmarks.celery_batched",
    "bench.batched",
    "bench-batched",
    python=str(ROOT / ".tools" / "celery-batches" / "bin" / "python"),
)
EACH = Yardstick("one Celery task an event", "benchmarks.celery_each", "bench.each", "bench-each")


def ours(workers: int, latency_ms: int = 0) -> str:
    """Return the name of one of our series."""
    suffix = "" if workers == 1 else "es"
    return f"ours, {workers} process{suffix}" + (f", vendor {latency_ms} ms" if latency_ms else "")


@dataclass(slots=True)
class Drains:
    """The contenders of this section."""

    setups: SetupFactory
    results: Results

    def ours(self, workers: int, size: int, latency_ms: int = 0) -> None:
        """Fill a paused destination, start the workers, resume it."""
        with self.setups.create(latency_ms) as setup:
            setup.buffer.pause("benchmark")
            samples.fill_events(setup.buffer, size)
            self._measure(setup, workers, size, ours(workers, latency_ms))

    def profiles(self, workers: int, size: int) -> None:
        """Do the same with profile updates, 100 per request, in order."""
        with self.setups.create() as setup:
            setup.buffer.pause("benchmark")
            samples.fill_profiles(setup.buffer, size)
            self._measure(setup, workers, size, f"{ours(workers)}, profiles")

    def _measure(self, setup: Setup, workers: int, size: int, name: str) -> None:
        setup.start_workers(workers)
        before = setup.workers_cpu_s(), setup.redis_cpu_s()
        setup.buffer.resume()
        began = time.monotonic()
        ended = setup.wait_until_settled(DEADLINE_S)
        seen = setup.sink.seen()
        if seen.records != size:
            raise AssertionError(f"{name}: {seen.records} of {size} records arrived")
        records_per_s, requests_per_s = seen.steady()
        add = partial(self.results.add, SECTION)
        add(name, "records/s", records_per_s)
        add(f"{name}: resumed to settled", "records/s", size / (ended - began))
        add(f"{name}: requests", "requests/s", requests_per_s)
        scale = 1_000_000 / size
        add(f"{name}: CPU of the workers", "s/million", (setup.workers_cpu_s() - before[0]) * scale)
        add(f"{name}: CPU of Redis", "s/million", (setup.redis_cpu_s() - before[1]) * scale)

    def floor(self, size: int) -> None:
        """Run a loop without any safety, in one process."""
        with self.setups.create() as setup:
            for bodies in samples.bodies(size):
                setup.client.rpush(floor.KEY, *bodies)
            setup.run_module("benchmarks.floor", setup.server.url, str(setup.sink.port))
            seen = setup.sink.wait_for(size, DEADLINE_S)
            self.results.add(SECTION, FLOOR, "records/s", seen.steady()[0])

    def celery(self, yardstick: Yardstick, size: int) -> None:
        """Run a Celery worker on a queue filled beforehand."""
        with self.setups.create() as setup:
            _ask(yardstick, setup, size)
            command = f"celery -A {yardstick.module} worker --loglevel=WARNING --without-gossip"
            options = ("--without-mingle", "--concurrency=2")
            setup.run_module(command, *options, python=yardstick.python)
            seen = setup.sink.wait_for(size, DEADLINE_S)
            self.results.add(SECTION, yardstick.name, "records/s", seen.steady()[0])


def _ask(yardstick: Yardstick, setup: Setup, size: int) -> None:
    """Put one message per event into the broker."""
    app: Any = Celery(broker=setup.server.url, set_as_current=False)
    with app, app.connection_for_write() as connection:
        producer = app.amqp.Producer(connection)
        for number in range(size):
            app.send_task(
                yardstick.task,
                (samples.event(number),),
                queue=yardstick.queue,
                producer=producer,
                ignore_result=True,
            )


def run(setups: SetupFactory, results: Results, options: Options) -> None:
    """Run the section."""
    drains = Drains(setups, results)
    size = options.sized(300_000, 1_000_000)
    in_turn([partial(drains.floor, size), *_ours(drains, size, options)], options.rounds)
    in_turn(_celery(drains, options), options.slow_rounds)
    slow = [
        partial(drains.ours, 2, options.sized(300_000, 400_000), latency_ms)
        for latency_ms in options.latencies_ms
    ]
    in_turn([*slow], options.slow_rounds)


def _ours(drains: Drains, size: int, options: Options) -> list[Contender]:
    two = partial(drains.ours, 2, size)
    if options.quick:
        return [two]
    others = (partial(drains.ours, 1, size), partial(drains.ours, 4, size))
    return [two, *others, partial(drains.profiles, 2, 50_000)]


def _celery(drains: Drains, options: Options) -> list[Contender]:
    return [
        partial(drains.celery, BATCHED, options.sized(10_000, 16_000)),
        partial(drains.celery, EACH, options.sized(2_000, 4_000)),
    ]
