"""The names of keys in Redis; docs/redis.md says what each holds.

All keys of a destination share one hash tag, so they live in one slot of a Redis Cluster.
"""

from __future__ import annotations

PREFIX = "ingest:"


def base(destination: str) -> str:
    """Return the base key, which every script gets and derives the others from."""
    return f"{PREFIX}{{{destination}}}"


def guard(base_key: str) -> str:
    """Return a key that never exists, in the same slot: see `scripts`."""
    return f"{base_key}:nothing"


def pending(destination: str, kind: str, partition: int = 0) -> str:
    """Return the list of accepted records of one partition."""
    return f"{base(destination)}:pending:{kind}:{partition}"


def batch(destination: str, batch_id: str) -> str:
    """Return the list of the records of a claimed batch."""
    return f"{base(destination)}:batch:{batch_id}"


def batches(destination: str) -> str:
    """Return the hash that describes each claimed batch."""
    return f"{base(destination)}:batches"


def leases(destination: str) -> str:
    """Return the sorted set of the batches in flight."""
    return f"{base(destination)}:leases"


def layout(destination: str, kind: str) -> str:
    """Return the list of an ordered kind's partition ranges, oldest first."""
    return f"{base(destination)}:layout:{kind}"


def dead(destination: str, kind: str) -> str:
    """Return the stream of dead letters of one kind."""
    return f"{base(destination)}:dead:{kind}"


def counters(destination: str) -> str:
    """Return the hash of totals."""
    return f"{base(destination)}:counters"


def tally(destination: str, day: str) -> str:
    """Return the hash of one day's delivered records by event name; the day is yyyymmdd."""
    return f"{base(destination)}:tally:{day}"


def reconciled(destination: str, day: str) -> str:
    """Return the last comparison (JSON) of a day's tally with the vendor's counts."""
    return f"{base(destination)}:reconciled:{day}"


def state(destination: str) -> str:
    """Return the hash of a destination's state."""
    return f"{base(destination)}:state"


def journal(destination: str) -> str:
    """Return the stream of the last settlements."""
    return f"{base(destination)}:journal"


def history(destination: str) -> str:
    """Return the list of one sample per minute."""
    return f"{base(destination)}:history"


DASHBOARD = f"{PREFIX}{{:dashboard}}"
"""The base of what the dashboard keeps; no destination has such a name. See worker/dashboard."""
