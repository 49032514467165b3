"""The cost of a record: bytes in Redis, memory of a worker, and the effect of a backlog.

CPU seconds per million records are taken along by the drain and enqueue sections.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from statistics import median

import psutil

from benchmarks import samples
from benchmarks.drain import DEADLINE_S
from benchmarks.program_options import Options
from benchmarks.results import Contender, Results, in_turn
from benchmarks.setup import Setup, SetupFactory
from support.polling import poll_until
from worker.app.runtime import DestinationRuntime, Runtime
from worker.buffer import keys
from worker.delivery.drain import Dispatch
from worker.settings.settings import Settings
from worker.vendors.protocol import Kind

SECTION = "cost"
JSON_BYTES = "JSON of a buffered record"
RSS_EARLY = "memory of a worker in the second tenth of the records"
RSS_LATE = "memory of a worker in the last tenth"
WARM = 200_000  # records before memory is measured
BATCHES = 20  # delivered from each backlog per round
BACKLOGS = (10_000, 100_000, 1_000_000)


def held_by(backlog: int) -> str:
    """Return the name of a series."""
    return f"Redis memory of a record, of {backlog:,} buffered"


def accepted_onto(backlog: int) -> str:
    """Return the name of a series."""
    return f"CPU of an acceptance onto a backlog of {backlog:,}"


def delivered_from(backlog: int) -> str:
    """Return the name of a series."""
    return f"CPU of a delivery off a backlog of {backlog:,}"


def fill(setup: Setup, results: Results, size: int) -> None:
    """Buffer this many events; record Redis' memory for them and the bytes to send."""
    before = int(setup.client.info("memory")["used_memory"])
    samples.fill_events(setup.buffer, size)
    used = int(setup.client.info("memory")["used_memory"]) - before
    key = keys.pending(setup.destination.name, Kind.EVENT)
    if setup.client.llen(key) != size:
        raise AssertionError(f"{key} does not hold what was accepted")
    results.add(SECTION, JSON_BYTES, "bytes", len(samples.body(0)))
    results.add(SECTION, held_by(size), "bytes", used / size)


def worker_memory(setups: SetupFactory, results: Results, size: int) -> None:
    """Measure one worker's resident memory, in the second tenth of the records and in the last.

    By then it is warm: all of its threads have run and have their buffers. It varies with the
    current batches, so take the median of many samples.
    """
    with setups.create() as setup:
        setup.start_workers(1)
        process = psutil.Process(setup.workers[0].pid)
        samples.fill_events(setup.buffer, WARM)
        setup.wait_until_settled(DEADLINE_S)
        setup.buffer.pause("benchmark")
        samples.fill_events(setup.buffer, size)
        setup.sink.start_over()
        setup.buffer.resume()
        setup.sink.wait_for(size // 10, DEADLINE_S)
        results.add(SECTION, RSS_EARLY, "MiB", _memory_until(setup, process, 2 * size // 10))
        setup.sink.wait_for(9 * size // 10, DEADLINE_S)
        results.add(SECTION, RSS_LATE, "MiB", _memory_until(setup, process, size))


def _memory_until(setup: Setup, process: psutil.Process, records: int) -> float:
    """Return the median resident memory, in MiB, until this many records have arrived."""
    looks: list[float] = []

    def arrived() -> bool:
        looks.append(process.memory_info().rss / 2**20)
        return setup.sink.records() >= records

    poll_until(arrived, DEADLINE_S, f"{records} records", 0.005)
    return median(looks)


def _turn_over(setup: Setup, line: DestinationRuntime, backlog: int, results: Results) -> None:
    """Deliver some batches from a backlog, and accept as many records again.

    The price is the CPU of this thread and of Redis.
    """
    with _priced(setup, results, delivered_from(backlog)):
        for _ in range(BATCHES):
            claim = line.buffer.claim(begun=True)
            if claim is None or claim.size != samples.CHUNK:
                raise AssertionError("the backlog gave no full batch")
            line.deliverer.deliver(claim)
    with _priced(setup, results, accepted_onto(backlog)):
        samples.fill_events(line.buffer, BATCHES * samples.CHUNK)


@contextmanager
def _priced(setup: Setup, results: Results, name: str) -> Iterator[None]:
    began = time.thread_time() + setup.redis_cpu_s()
    yield
    took_s = time.thread_time() + setup.redis_cpu_s() - began
    results.add(SECTION, name, "us/record", took_s / BATCHES / samples.CHUNK * 1e6)


def backlogs(setups: SetupFactory, results: Results, options: Options) -> None:
    """Measure the cost with backlogs of different sizes, each in its own Redis."""
    sizes = BACKLOGS[:2] if options.quick else BACKLOGS
    with setups.create() as one, setups.create() as two, setups.create() as three:
        contenders: list[Contender] = []
        for setup, backlog in zip((one, two, three), sizes, strict=False):
            runtime = Runtime(Settings.from_env(setup.environ), Dispatch(_no_worker, _no_worker))
            line = runtime.destinations["clevertap"]
            fill(setup, results, backlog)
            # With one batch less it would wait; delivered records are put back immediately.
            samples.fill_events(line.buffer, max(0, BATCHES * samples.CHUNK - backlog))
            contenders.append(partial(_turn_over, setup, line, backlog, results))
        in_turn(contenders, 10 * options.rounds)


def _no_worker(*_: object) -> None:
    """Do nothing: there are no workers here."""


def run(setups: SetupFactory, results: Results, options: Options) -> None:
    """Run the section."""
    worker_memory(setups, results, options.sized(300_000, 1_000_000))
    backlogs(setups, results, options)
