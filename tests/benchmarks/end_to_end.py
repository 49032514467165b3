"""Producers and workers together: the throughput, and a record's age on arrival.

The age is counted from when the record was made, in the producer's process, to when its request
was whole at the sink, by one clock.
"""

from __future__ import annotations

import json
import time

from benchmarks.program_options import Options
from benchmarks.results import Results
from benchmarks.setup import Setup, SetupFactory, SinkCounts

SECTION = "end to end"
CAPACITY = "capacity, one producer and 2 workers"
WORKERS = 2
SHARES = (0.1, 0.5, 0.9)


def _traffic(setup: Setup, rate: float, seconds: float) -> SinkCounts:
    """Run the producer for this long, and wait until everything has arrived."""
    process = setup.run_module("benchmarks.traffic", str(rate), str(seconds))
    if process.popen.wait(seconds + 60) != 0:
        raise AssertionError(process.output())
    accepted = json.loads(process.output().splitlines()[-1])["accepted"]
    setup.wait_until_settled(120)
    seen = setup.sink.seen()
    if seen.records != accepted:
        raise AssertionError(f"{seen.records} of {accepted} records arrived")
    return seen


def _rate(seen: SinkCounts) -> float:
    return seen.records / (max(seen.times) - min(seen.times))


def run(setups: SetupFactory, results: Results, options: Options) -> None:
    """Run the section; when quick, measure ages only at half of the capacity."""
    seconds = 4.0 if options.quick else 12.0
    with setups.create(sample=True) as setup:
        setup.start_workers(WORKERS)
        _traffic(setup, 1000, 2.0)  # warm
        for _ in range(options.slow_rounds):
            setup.sink.start_over(sample=True)
            results.add(SECTION, CAPACITY, "records/s", _rate(_traffic(setup, 0, seconds)))
        capacity = results.median(SECTION, CAPACITY) or 0.0
        for share in SHARES[1:2] if options.quick else SHARES:
            setup.sink.start_over(sample=True)
            time.sleep(1.0)
            p50, p95, p99 = _traffic(setup, share * capacity, seconds).age_ms(50, 95, 99)
            for name, value in (("p50", p50), ("p95", p95), ("p99", p99)):
                results.add(SECTION, f"age at {share:.0%} of capacity: {name}", "ms", value)
