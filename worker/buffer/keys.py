"""The names of keys in Redis; docs/redis.md says what each holds.

All keys of a destination share one hash tag, so they live in one slot of a Redis Cluster.
"""

from __future__ import annotations

from collections.abc import Callable

PREFIX = "ingest:"
# The base of what the dashboard keeps; no destination has such a name. See worker/dashboard.
DASHBOARD = f"{PREFIX}{{:dashboard}}"


def base(destination: str) -> str:
    """Return the base key, which every script gets and derives the others from."""
    return f"{PREFIX}{{{destination}}}"


def guard(base_key: str) -> str:
    """Return a key that never exists, in the same slot: see `scripts`."""
    return f"{base_key}:nothing"


def pending(destination: str, kind: str, partition: int = 0) -> str:
    """Return the list of accepted records of one partition."""
    return f"{base(destination)}:pending:{kind}:{partition}"


def _of_destination(name: str) -> Callable[[str], str]:
    return lambda destination: f"{base(destination)}:{name}"


def _of_each(name: str) -> Callable[[str, str], str]:
    return lambda destination, which: f"{base(destination)}:{name}:{which}"


batches = _of_destination("batches")  # a hash that describes each claimed batch
leases = _of_destination("leases")  # a sorted set of the batches in flight
counters = _of_destination("counters")  # a hash of totals
state = _of_destination("state")  # a hash
journal = _of_destination("journal")  # a stream of the last settlements
history = _of_destination("history")  # a list of one sample per minute
batch = _of_each("batch")  # by id: a list of a claimed batch's records
layout = _of_each("layout")  # by ordered kind: a list of its partition ranges, oldest first
dead = _of_each("dead")  # by kind: a stream of dead letters
tally = _of_each("tally")  # by day (yyyymmdd): a hash of delivered records by event name
reconciled = _of_each("reconciled")  # by day: the tally's last comparison (JSON) with the vendor's
