"""A batch in somebody's hands: what is claimed, what an answer moves and teaches, and how the
scripts are told of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal, Self

from ..settings.destination import Destination
from ..vendors.protocol import Outcome, Verdict
from ..vendors.reasons import DeadLetterReason
from . import histograms
from .records import count_names, joined_ids, split_heads, without

_BLAMELESS = ",".join(reason for reason in DeadLetterReason if reason.is_blameless)
Signal = Literal["success", "throttled", "failure"]


@dataclass(frozen=True, slots=True)
class Settle:
    """Each record goes where its verdict says: ``usual``, or what ``named`` has for its position.

    ``delay_ms`` is how long the records to be retried wait; ``ambiguous`` is how many of them the
    vendor may already have taken.
    """

    usual: Verdict
    named: Sequence[tuple[int, Verdict]] = field(default_factory=tuple)
    counts_attempt: bool = True
    delay_ms: int = 0
    ambiguous: int = 0


@dataclass(frozen=True, slots=True)
class Claim:
    """A leased batch: the heads of its records and their bodies, which are what is sent.

    Both are empty until the claim was begun. Times are epoch ms; ``wait_ms`` is how long to wait,
    from when it was begun, before it is sent; ``isolated`` says that the vendor took others of this
    kind since it last took none of these. ``send_by_s`` is when it is too late to send it, by this
    machine's monotonic clock: its lease might end before the request does.
    """

    batch: str
    token: str
    kind: str
    size: int
    attempt: int
    deaths: int
    first_claim_ms: int
    begun_ms: int
    heads: Sequence[bytes] = ()
    bodies: Sequence[bytes] = ()
    wait_ms: float = 0.0
    isolated: bool = False
    send_by_s: float = inf

    @property
    def records(self) -> list[bytes]:
        """The records as they are stored."""
        return [b"%b\n%b" % each for each in zip(self.heads, self.bodies, strict=True)]

    @classmethod
    def of(cls, answer: Any, stored: Sequence[bytes], send_by_s: float = inf) -> Self | None:
        """The claim that a script answered, with its records; None when there was none."""
        if answer is None:
            return None
        batch_id, raw = answer
        batch = json.loads(raw)
        begun_ms = int(batch["begun"])
        wait_ms = max(0.0, batch.get("slot", 0) - begun_ms) if begun_ms else 0.0
        heads, bodies = split_heads(stored)
        return cls(
            batch=batch_id.decode(),
            token=batch["token"],
            kind=batch["kind"],
            size=int(batch["size"]),
            attempt=int(batch["attempt"]),
            deaths=int(batch["deaths"]),
            first_claim_ms=int(batch["first"]),
            begun_ms=begun_ms,
            heads=heads,
            bodies=bodies,
            wait_ms=wait_ms,
            isolated=batch.get("alone", False),
            send_by_s=send_by_s + wait_ms / 1000,
        )


@dataclass(frozen=True, slots=True)
class Settled:
    """What a settlement moved, in records; ``tripped`` tells that it set off the flood breaker."""

    delivered: int
    dead: int
    retrying: int
    tripped: bool

    @classmethod
    def of(cls, answer: Any) -> Self | None:
        """What `settle` answered; None when the token was stale."""
        if answer is None:
            return None
        return cls(answer[0], answer[1], answer[2], answer[3] == b"1")


@dataclass(frozen=True, slots=True)
class ExpiredLeases:
    """What ran out of its lease: batches nobody had begun; batches whose worker died, and their
    records."""

    unbegun: int
    died: int
    records: int


@dataclass(frozen=True, slots=True)
class ConcurrencyUpdate:
    """What a destination learned: requests it may have under way, ms until the next claim, and
    whether more may be claimed than before."""

    concurrency: int
    pause_ms: int
    wider: bool

    @classmethod
    def of(cls, answer: Any) -> Self:
        """What `adapt` answered."""
        return cls(answer[0], answer[1], bool(answer[2]))


@dataclass(frozen=True, slots=True)
class Feedback:
    """What an answer teaches the destination: its signal, a random number in [0, 1) for the
    back-off, and the wait that the vendor asked for."""

    signal: Signal
    random: float
    wait_ms: int = 0


@dataclass(frozen=True, slots=True)
class SettleAndClaim:
    """What closing an attempt moved (None: the lease was ours no more), whether more may be
    claimed than before, and the batch that was claimed in the same breath."""

    settled: Settled | None
    wider: bool
    following: Claim | None


@dataclass(frozen=True, slots=True)
class Tick:
    """What a drain finds: producers are refused while memory is full; a probe may be due."""

    memory_full: bool
    probe_due: bool


def _verdict_arguments(verdict: Verdict) -> list[Any]:
    code = "" if verdict.code is None else verdict.code
    return [verdict.outcome.value, verdict.reason, code, verdict.error]


def measures(claim: Claim, took_s: float | None) -> tuple[int, str, str]:
    """What the histograms count of a request: ms, and the buckets of time and size."""
    size = histograms.bound(claim.size, histograms.BATCH_RECORDS)
    if took_s is None:
        return 0, "", size
    return round(took_s * 1000), histograms.bound(took_s, histograms.REQUEST_S), size


def settle_arguments(
    destination: Destination, claim: Claim, settle: Settle, label: str, took_s: float | None
) -> list[Any]:
    """The arguments of `settle`, without what the buffer knows by itself."""
    if settle.usual.outcome is Outcome.DELIVERED:
        delivered = without(claim.heads, (at for at, _ in settle.named))
    else:
        delivered = ()
    arguments = [
        claim.batch,
        claim.token,
        *_verdict_arguments(settle.usual),
        int(settle.counts_attempt),
        settle.delay_ms,
        settle.ambiguous,
        label,
        destination.journal_settlements,
        joined_ids(delivered) if destination.journal_settlements else b"",
        destination.flood_window,
        destination.flood_share,
        destination.tally_days,
        *measures(claim, took_s),
        _BLAMELESS,
        len(settle.named),
    ]
    for position, verdict in settle.named:
        arguments += [position, *_verdict_arguments(verdict)]
    for key, number in count_names(delivered).items():
        arguments += [key, number]
    return arguments
