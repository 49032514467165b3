"""A producer of steady traffic, in its own process.

    python -m benchmarks.traffic RECORDS_PER_S SECONDS

It sends what has fallen due every 20 ms, in one call; as fast as it can, in calls of a thousand,
when the rate is 0. Each record carries the time it was made. It prints what was accepted, and the
CPU seconds it took.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterator

from benchmarks import samples
from worker.producer.producer import Producer

_PACE_S = 0.02


def _due(rate: float, seconds: float) -> Iterator[int]:
    """Yield the number of records to send now, until the time is over."""
    began, sent = time.monotonic(), 0
    while (passed := time.monotonic() - began) < seconds:
        due = int(passed * rate) - sent if rate else samples.CHUNK
        if due:
            sent += due
            yield due
        if rate:
            time.sleep(_PACE_S)


def main(rate: float, seconds: float) -> None:
    """Send, then print the result."""
    producer, number = Producer.from_env(), 0
    for due in _due(rate, seconds):
        now_ms = int(time.time() * 1000)
        producer.send_many(samples.event(number + each, now_ms) for each in range(due))
        number += due
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"accepted": number, "cpu_s": used.ru_utime + used.ru_stime}))


if __name__ == "__main__":
    main(float(sys.argv[1]), float(sys.argv[2]))
