"""A destination's records in Redis, and every move of a record from one place to another.

Each operation is one script in `lua/`, and so is atomic. Every call may be repeated after a lost
reply: ids and tokens are made here and not in Redis, so a repeated claim returns the same batch,
and a repeated settlement finds its token gone and changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from secrets import token_hex
from time import monotonic
from typing import Any

import redis

from ..settings.destination import Destination
from . import keys
from .claims import Claim, ExpiredLeases, Feedback, Finished, Settle, Settled, Split, finish_call
from .records import new_id
from .scripts import run_together, script
from .status import DestinationStatus

# Both are required between a refusal (429) and the next try above the ceiling it set. After 120
# successes, refusals stay below one in a hundred. At high rates, the five seconds decide how soon
# new capacity is noticed (measured: 8 to 15 requests in 4 s; 2 to 4, at 20 a second, in 7 s).
CEILING_SUCCESSES = 120
CEILING_MS = 5000


class Buffer:
    """The worker's operations on the records of one destination."""

    def __init__(self, client: redis.Redis, destination: Destination) -> None:
        self.client = client
        self.destination = destination
        self._base = keys.base(destination.name)
        self._lease_ms = int(destination.lease_s * 1000)
        # What a request leaves of its lease; half of the lease, if that is little.
        lease_s = destination.lease_s
        self._sendable_s = max(lease_s - destination.request_timeout_s, lease_s / 2)
        self._claim_settings: list[Any] = [
            destination.concurrency_limit,
            destination.concurrency,
            int(destination.max_wait_s * 1000),
            destination.batch_max_bytes,
            destination.requests_per_s,
        ]
        for name, kind in destination.kinds.items():
            self._claim_settings += [name, kind.batch_records, int(kind.ordered)]

    def _run(self, name: str, *args: Any) -> Any:
        return script(name).run(self.client, self._base, *args)

    def claim(self, *, begun: bool) -> Claim | None:
        """Lease a batch that is ready, or return None; ``begun`` when the caller sends it now."""
        batch_id = new_id()
        args = self._claim_arguments(batch_id, begun=begun)
        if not begun:
            return Claim.of(self._run("claim", *args), ())
        return self._run_and_read([("claim", args)], batch_id)[1]

    def _claim_arguments(self, batch_id: str, *, begun: bool) -> Sequence[Any]:
        return batch_id, token_hex(8), self._lease_ms, int(begun), *self._claim_settings

    def begin(self, batch_id: str, token: str) -> Claim | None:
        """Begin a batch that was claimed for this process, under a new token; None if lost."""
        rate = self.destination.requests_per_s
        args = (batch_id, token, token_hex(8), self._lease_ms, rate)
        return self._run_and_read([("begin", args)], batch_id)[1]

    def _run_and_read(
        self, calls: Sequence[tuple[str, Sequence[Any]]], batch_id: str
    ) -> tuple[list[Any], Claim | None]:
        """Run operations, the last of which claims; return their replies, and the claim.

        The records are most likely those of the batch expected, so they are read in the same round
        trip, and again only if an older batch was due.
        """
        key = keys.batch(self.destination.name, batch_id)
        send_by_s = monotonic() + self._sendable_s
        *replies, claimed, records = run_together(self.client, self._base, calls, key)
        if claimed is not None and claimed[0] != batch_id.encode():
            key = keys.batch(self.destination.name, claimed[0].decode())
            records = self.client.lrange(key, 0, -1)
        return replies, Claim.of(claimed, records, send_by_s)

    def finish(
        self,
        claim: Claim,
        action: Settle | Split,
        label: str = "",
        took_s: float | None = None,
        *,
        feedback: Feedback | None = None,
        claim_next: bool = False,
    ) -> Finished:
        """Learn from the vendor's answer, move the records, claim the next batch: one round trip.

        ``label`` names the answer, '' when nothing was sent; ``took_s`` is for statistics. Each of
        the three is an atomic step, in this order: the feedback counts while the lease is held.
        """
        settings = self.destination
        calls: list[tuple[str, Sequence[Any]]] = []
        if feedback:
            arguments = (
                feedback.signal,
                claim.begun_ms,
                settings.concurrency_limit,
                settings.concurrency,
                int(settings.backoff_base_s * 1000),
                int(settings.backoff_cap_s * 1000),
                feedback.random,
                feedback.wait_ms,
                CEILING_SUCCESSES,
                CEILING_MS,
            )
            calls.append(("adapt", arguments))
        calls.append(finish_call(settings, claim, action, label, took_s))
        following = None
        if claim_next:
            batch_id = new_id()
            calls.append(("claim", self._claim_arguments(batch_id, begun=True)))
            replies, following = self._run_and_read(calls, batch_id)
        else:
            replies = run_together(self.client, self._base, calls)
        wider = bool(feedback and replies[0])
        return Finished(Settled.of(claim, replies[-1]), wider, following)

    def recover(self, *, unbegun: bool = False) -> ExpiredLeases:
        """Return batches with expired leases to waiting; with ``unbegun``, those not begun too."""
        return ExpiredLeases(*self._run("recover", int(unbegun)))

    def pause(self, reason: str) -> bool:
        """Stop deliveries because a person asked for it; False if they were stopped already."""
        return bool(self._run("set_status", "paused", reason, "running,parked"))

    def resume(self) -> bool:
        """Start deliveries again; False if they were running."""
        return bool(self._run("set_status", "running", "", "paused,parked"))

    def park(self, reason: str) -> bool:
        """Stop deliveries because the vendor refuses credentials or address."""
        return bool(self._run("set_status", "parked", reason, "running"))

    def unpark(self) -> bool:
        """Start deliveries again after a probe passed; never undo a person's pause."""
        return bool(self._run("set_status", "running", "", "parked"))

    def repartition(self) -> None:
        """Set the number of partitions of ordered kinds as configured."""
        for name, kind in self.destination.kinds.items():
            if kind.ordered:
                self._run("repartition", name, kind.partitions)

    def tick(self) -> tuple[bool, bool]:
        """Record that a drain ran; return whether memory is full, and whether a probe is due."""
        full, probe = self._run("tick", int(self.destination.probe_interval_s * 1000))
        return full == b"1", probe == b"1"

    def memory_used(self) -> float:
        """Return the share of Redis' memory in use: 0 without a limit, above 1 when over it."""
        return int(self._run("memory_used")) / 1000

    def is_evicting(self) -> bool:
        """Return whether Redis evicts records when it is full, instead of refusing more."""
        return bool(self._run("is_evicting"))

    def seconds_since_tick(self) -> float:
        """Return the seconds since any drain ran; infinity if none ever did."""
        since_ms = self._run("ms_since_tick")
        return inf if since_ms is None else int(since_ms) / 1000

    def record_reconciliation(self, at_ms: int, missing: int) -> None:
        """Keep for the status what a comparison with the vendor's counts found."""
        found: list[str | int] = ["reconciled_at", at_ms, "missing", missing]
        self.client.hset(keys.state(self.destination.name), items=found)

    def status(self) -> DestinationStatus:
        """Return where every record is, at one moment."""
        return DestinationStatus.of(self.destination, self._run("status", *self.destination.kinds))
