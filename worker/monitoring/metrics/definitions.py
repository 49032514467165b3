"""Every metric: name, type, labels and help, declared once.

Names follow Prometheus' conventions: the prefix `ingest_`, base units in the name, `_total` on
counters. A label's value is a name of the configuration, a word of ours, or a vendor's status or
code, and never from a record.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

Type = Literal["gauge", "counter", "histogram"]
PLACES: Final = ("buffered", "in_flight", "retrying", "dead")


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric; ``name`` is without a histogram's suffixes."""

    name: str
    type: Type
    help: str
    labels: tuple[str, ...] = ()

    @property
    def samples(self) -> tuple[str, ...]:
        """The names of its samples in a scrape."""
        suffixes = ("_bucket", "_count", "_sum") if self.type == "histogram" else ("",)
        return tuple(self.name + suffix for suffix in suffixes)


_DESTINATION: Final = ("destination",)
_KIND: Final = ("destination", "kind")


def _declare(type_: Type, name: str, text: str, labels: tuple[str, ...] = ()) -> Metric:
    suffix = "_total" if type_ == "counter" else ""
    return Metric(f"ingest_{name}{suffix}", type_, text, labels)


_gauge = partial(_declare, "gauge")
_counter = partial(_declare, "counter")
_histogram = partial(_declare, "histogram")

REDIS_UP = _gauge("redis_up", "1 when Redis answered this scrape; else 0, and little more.")
TICK_INTERVAL = _gauge("tick_interval_seconds", "Seconds between two drain ticks, as configured.")

RECORDS = _gauge("records", "Records by where they are.", (*_KIND, "place"))
OLDEST = _gauge(
    "oldest_record_age_seconds", "How long the oldest buffered record has waited.", _KIND
)
ACCEPTED = _counter("records_accepted", "Records that were taken into the buffer.", _KIND)
DELIVERED = _counter("records_delivered", "Records that the vendor took.", _KIND)
DEAD_LETTERED = _counter("records_dead_lettered", "Records that became dead letters.", _KIND)
REPLAYED = _counter("records_replayed", "Dead letters put back into the buffer.", _KIND)
PURGED = _counter("records_purged", "Dead letters removed by an operator.", _KIND)
AMBIGUOUS = _counter(
    "records_ambiguous", "Records sent again, or given up, that the vendor may have taken.", _KIND
)
DEAD_LETTERS = _counter(
    "dead_letters", "Dead letters by the vendor's code, or our reason.", (*_KIND, "code")
)

REQUESTS = _counter("requests", "Upload requests made, those of dead workers included.", _KIND)
ANSWERS = _counter(
    "answers",
    "Upload requests by the vendor's HTTP status, or by why there is none.",
    (*_DESTINATION, "answer"),
)
DURATION = _histogram(
    "request_duration_seconds", "How long upload requests took, answer included.", _KIND
)
BATCH = _histogram("batch_records", "Records in an upload request.", _KIND)
BATCH_LIMIT = _gauge("batch_limit_records", "Records that an upload request may have.", _KIND)

STATE = _gauge(
    "destination_state", "1 for the state that a destination is in.", (*_DESTINATION, "state")
)
LEASES = _gauge("leases", "Batches in flight: requests under way or about to be.", _DESTINATION)
CONCURRENCY = _gauge("concurrency", "Requests that may be under way now.", _DESTINATION)
CONCURRENCY_LIMIT = _gauge(
    "concurrency_limit", "Requests that may be under way at most.", _DESTINATION
)
BUFFER_LIMIT = _gauge(
    "buffer_limit_records", "Buffered records at which producers are refused.", _DESTINATION
)
MEMORY_USED = _gauge(
    "redis_memory_used_ratio",
    "Share of maxmemory in use where the destination lives; 0 without a limit.",
    _DESTINATION,
)
MEMORY_FULL = _gauge(
    "memory_full", "1 while producers are refused because Redis is nearly full.", _DESTINATION
)
LAST_TICK = _gauge(
    "last_tick_timestamp_seconds", "When a drain last ran; 0 when none ever did.", _DESTINATION
)
TICKS = _counter("ticks", "Drains that ran, in whichever process.", _DESTINATION)
LEASES_EXPIRED = _counter(
    "leases_expired",
    "Leases that ran out; phase `begun`: a worker died while sending, `waiting`: none began.",
    (*_DESTINATION, "phase"),
)
RECONCILED = _gauge(
    "last_reconcile_timestamp_seconds",
    "When the vendor's counts of the last week were last compared; 0 when never.",
    _DESTINATION,
)
MISSING = _gauge(
    "reconcile_missing_records",
    "Events that the vendor counted too few of then, on days that were over.",
    _DESTINATION,
)

METRICS: Final = tuple(each for each in list(globals().values()) if isinstance(each, Metric))
