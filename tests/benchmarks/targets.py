"""The targets, each a ratio within one run, and whether they hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks import cost, drain, enqueue
from benchmarks.results import Results


@dataclass(frozen=True, slots=True)
class Target:
    """``value`` should be at least, or at most, ``bound``; None if it was not measured."""

    text: str
    value: float | None
    bound: float
    at_least: bool = True

    @property
    def holds(self) -> bool | None:
        """Return whether it holds, or None if it was not measured."""
        if self.value is None:
            return None
        return self.value >= self.bound if self.at_least else self.value <= self.bound


def targets(results: Results) -> list[Target]:
    """Return all targets."""
    return [*_drain(results), *_enqueue(results), *_cost(results)]


def _drain(results: Results) -> Iterator[Target]:
    two = drain.ours(2)
    ratio = results.ratio
    yield Target("drain, 2 processes / the floor", ratio("drain", two, drain.FLOOR), 0.25)
    yield Target("drain / celery-batches", ratio("drain", two, drain.BATCHED.name), 100)
    yield Target("drain / one task an event", ratio("drain", two, drain.EACH.name), 200)
    requests = results.median("drain", f"{drain.ours(2, 250)}: requests")
    most = drain.LIMIT / 0.25
    yield Target(
        "vendor at 250 ms: requests/s of the 60 that 15 at a time allow",
        requests / most if requests is not None else None,
        0.95,
    )


def _enqueue(results: Results) -> Iterator[Target]:
    ratio = results.ratio
    section = enqueue.SECTION
    yield Target("send_many / bare load", ratio(section, enqueue.MANY_CALL, enqueue.LOAD), 0.6)
    yield Target("send_many / SDK's call", ratio(section, enqueue.MANY_CALL, enqueue.SDK), 1.0)
    load = results.median(section, enqueue.LOAD)
    yield Target("schema, us a record", 1e6 / load if load else None, 25, at_least=False)
    slower = ratio(section, f"{enqueue.EVENT_CALL}: p50", f"{enqueue.RPUSH}: p50")
    yield Target("event() / bare RPUSH, in time (p50)", slower, 1.6, at_least=False)
    p99 = results.median(section, f"{enqueue.EVENT_CALL}: p99")
    yield Target("event(), p99 in ms", p99, 1.0, at_least=False)


def _cost(results: Results) -> Iterator[Target]:
    section, ratio = cost.SECTION, results.ratio
    held = [ratio(section, cost.held_by(each), cost.JSON_BYTES) for each in cost.BACKLOGS]
    most = max((each for each in held if each is not None), default=None)
    yield Target("Redis memory / JSON, of a buffered record", most, 1.5, at_least=False)
    growth = ratio(section, cost.RSS_LATE, cost.RSS_EARLY)
    yield Target("memory of a warm worker, last tenth / second", growth, 1.05, at_least=False)
    for text, name in (("accepted", cost.accepted_onto), ("delivered", cost.delivered_from)):
        prices = [results.least(section, name(each)) for each in cost.BACKLOGS]
        known = [each for each in prices if each is not None]
        flat = max(known) / min(known) if len(known) > 1 else None
        yield Target(f"least CPU of a record {text}, dearest backlog / cheapest", flat, 1.1, False)
