"""A destination's records in Redis: the truth of what is where.

Each method is one script, so one atomic step; `lua/` holds them. Whoever calls again after a lost
answer gets the same result: ids and tokens are made here, not in Redis, so that a repeated claim is
recognised, and a repeated settlement finds its token gone and changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from secrets import token_hex
from typing import Any

import redis

from ..settings.destination import Destination
from . import keys
from .accept import accept
from .claims import (
    Claim,
    ConcurrencyUpdate,
    ExpiredLeases,
    Feedback,
    Settle,
    SettleAndClaim,
    Settled,
    Tick,
    measures,
    settle_arguments,
)
from .records import new_id
from .scripts import run_together, script
from .status import DestinationStatus

# Between a refusal (429) and the next try above what it taught: with 120 successes between,
# refusals stay under one in a hundred; five seconds bound how long new capacity goes unnoticed
# where there are as many (measured: 8 to 15 requests in 4 s; 2 to 4, at 20 a second, in 7 s).
PATIENCE = 120
PATIENCE_MS = 5000


class Buffer:
    """The worker's hands on one destination's records."""

    def __init__(
        self,
        client: redis.Redis,
        destination: Destination,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.client = client
        self.destination = destination
        self._clock = clock
        self._base = keys.base(destination.name)
        self._lease_ms = int(destination.lease_s * 1000)
        # What a request leaves of a lease; half of one that is hardly longer than a request.
        lease_s = destination.lease_s
        self._sendable_s = max(lease_s - destination.request_timeout_s, lease_s / 2)
        self._claim_settings = self._settings_of_claim()

    def _run(self, name: str, *args: Any) -> Any:
        return script(name).run(self.client, self._base, *args)

    def _settings_of_claim(self) -> list[Any]:
        settings = self.destination
        common: list[Any] = [
            settings.concurrency_limit,
            settings.concurrency,
            int(settings.max_wait_s * 1000),
            settings.batch_max_bytes,
            settings.requests_per_s,
        ]
        for name, kind in settings.kinds.items():
            common += [name, kind.batch_records, int(kind.ordered)]
        return common

    def accept(self, kind: str, identities: Sequence[bytes], stored: Sequence[bytes]) -> None:
        """Take stored records of one kind, all or none; BufferFull at a limit."""
        accept(self.client, self.destination, kind, identities, stored)

    def claim(self, *, begun: bool) -> Claim | None:
        """Lease a batch that is ready, or None; ``begun`` when the caller sends it at once."""
        batch_id = new_id()
        args = self._claim_arguments(batch_id, begun=begun)
        if not begun:
            return Claim.of(self._run("claim", *args), ())
        return self._together([("claim", args)], batch_id)[1]

    def _claim_arguments(self, batch_id: str, *, begun: bool) -> Sequence[Any]:
        return batch_id, token_hex(8), self._lease_ms, int(begun), *self._claim_settings

    def begin(self, batch_id: str, token: str) -> Claim | None:
        """Begin a batch that was claimed for us, under a new token; None when it is not ours."""
        rate = self.destination.requests_per_s
        args = (batch_id, token, token_hex(8), self._lease_ms, rate)
        return self._together([("begin", args)], batch_id)[1]

    def _together(
        self, calls: Sequence[tuple[str, Sequence[Any]]], batch_id: str
    ) -> tuple[list[Any], Claim | None]:
        """Run operations of which the last one claims; their answers, and the claim with its
        records. They are most likely those of the batch expected: so they are asked for at once,
        and again only when an older batch was due."""
        key = keys.batch(self.destination.name, batch_id)
        send_by_s = self._clock() + self._sendable_s
        *answers, claimed, records = run_together(self.client, self._base, calls, key)
        if claimed is not None and claimed[0] != batch_id.encode():
            key = keys.batch(self.destination.name, claimed[0].decode())
            records = self.client.lrange(key, 0, -1)
        return answers, Claim.of(claimed, records, send_by_s)

    def settle_and_claim(
        self, claim: Claim, settle: Settle, label: str, took_s: float, lesson: Feedback
    ) -> SettleAndClaim:
        """Learn from an answer, settle its batch, and claim the next one, in one round trip."""
        batch_id = new_id()
        calls = [
            ("adapt", self._adapt_arguments(claim.begun_ms, lesson)),
            ("settle", settle_arguments(self.destination, claim, settle, label, took_s)),
            ("claim", self._claim_arguments(batch_id, begun=True)),
        ]
        (adapted, settled), following = self._together(calls, batch_id)
        return SettleAndClaim(Settled.of(settled), ConcurrencyUpdate.of(adapted).wider, following)

    def settle(
        self, claim: Claim, settle: Settle, label: str, took_s: float | None = None
    ) -> Settled | None:
        """Move each record to the place its verdict names; None when the lease is ours no more.

        ``label`` names the vendor's answer, '' when nothing was sent; ``took_s`` is for statistics.
        """
        arguments = settle_arguments(self.destination, claim, settle, label, took_s)
        return Settled.of(self._run("settle", *arguments))

    def split(
        self,
        claim: Claim,
        error: str,
        label: str,
        *,
        lower_to: int = 0,
        took_s: float | None = None,
    ) -> bool:
        """Halve the batch, in order; False when the lease is ours no more.

        ``lower_to`` is the most bytes a batch may have from now on (the vendor answered 413). An
        answer clears the records of the deaths before it; else one more death isolates a half.
        """
        suspected = claim.deaths and not label
        deaths = max(0, self.destination.max_deaths - 1) if suspected else 0
        args = (claim.batch, claim.token, new_id(), error, deaths, label, lower_to)
        return self._run("split", *args, *measures(claim, took_s)) is not None

    def recover(self, *, unbegun: bool = False) -> ExpiredLeases:
        """Let batches whose lease ran out wait again; with ``unbegun``, those not begun too."""
        return ExpiredLeases(*self._run("recover", int(unbegun)))

    def adapt(self, begun_ms: int, lesson: Feedback) -> ConcurrencyUpdate:
        """Teach the destination an answer to what was begun then."""
        return ConcurrencyUpdate.of(self._run("adapt", *self._adapt_arguments(begun_ms, lesson)))

    def _adapt_arguments(self, begun_ms: int, lesson: Feedback) -> Sequence[Any]:
        settings = self.destination
        return (
            lesson.signal,
            begun_ms,
            settings.concurrency_limit,
            settings.concurrency,
            int(settings.backoff_base_s * 1000),
            int(settings.backoff_cap_s * 1000),
            lesson.random,
            lesson.wait_ms,
            PATIENCE,
            PATIENCE_MS,
        )

    def pause(self, reason: str) -> bool:
        """Stop deliveries on a person's word; False when they were stopped already."""
        return bool(self._run("set_status", "paused", reason, "running,parked"))

    def resume(self) -> bool:
        """Start deliveries again; False when they were running."""
        return bool(self._run("set_status", "running", "", "paused,parked"))

    def park(self, reason: str) -> bool:
        """Stop deliveries because the vendor refuses credentials or address."""
        return bool(self._run("set_status", "parked", reason, "running"))

    def unpark(self) -> bool:
        """Start deliveries again after a probe passed; never undoes a person's pause."""
        return bool(self._run("set_status", "running", "", "parked"))

    def repartition(self) -> None:
        """Bring the partitions of ordered kinds to the configured number."""
        for name, kind in self.destination.kinds.items():
            if kind.ordered:
                self._run("repartition", name, kind.partitions)

    def tick(self) -> Tick:
        """Note that a drain ran; tells whether memory is full and whether a probe is due."""
        full, probe = self._run("tick", int(self.destination.probe_interval_s * 1000))
        return Tick(memory_full=full == b"1", probe_due=probe == b"1")

    def memory_used(self) -> float:
        """The share of Redis' memory in use; 0 when it has no limit, above 1 when over it."""
        return int(self._run("memory_used")) / 1000

    def is_evicting(self) -> bool:
        """Whether Redis throws records away when it is full, instead of refusing more."""
        return bool(self._run("is_evicting"))

    def seconds_since_tick(self) -> float:
        """Seconds since a drain ran anywhere; infinity when none ever did."""
        since_ms = self._run("ms_since_tick")
        return float("inf") if since_ms is None else int(since_ms) / 1000

    def record_reconciliation(self, at_ms: int, missing: int) -> None:
        """Keep for the status what a comparison with the vendor's counts found."""
        found: list[str | int] = ["reconciled_at", at_ms, "missing", missing]
        self.client.hset(keys.state(self.destination.name), items=found)

    def status(self) -> DestinationStatus:
        """Where every record is, at one moment."""
        return DestinationStatus.of(self.destination, self._run("status", *self.destination.kinds))
