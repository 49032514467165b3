"""A leased batch: what is claimed, how it is finished, and the scripts' arguments for that."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal, Self

from ..settings.destination import Destination
from ..vendors.protocol import Outcome, Verdict
from ..vendors.reasons import BLAMELESS
from .records import count_names, joined_ids, new_id, split_heads, without
from .status import BATCH_RECORDS, REQUEST_S, bucket_of

_BLAMELESS = ",".join(BLAMELESS)
Signal = Literal["success", "throttled", "failure"]


@dataclass(frozen=True, slots=True)
class Claim:
    """A leased batch: the heads of its records, and their bodies, which are what is sent.

    Both are empty until the claim is begun. Times are epoch ms; ``wait_ms`` is how long to wait,
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
    def of(cls, reply: Any, stored: Sequence[bytes], send_by_s: float = inf) -> Self | None:
        """Return the claim in a script's reply, with its records; None if nothing was claimed."""
        if reply is None:
            return None
        batch_id, raw = reply
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
    """What became of a batch, in records; ``tripped`` when that set off the flood breaker."""

    delivered: int
    dead: int
    retrying: int
    tripped: bool

    @classmethod
    def unmoved(cls, claim: Claim) -> Self:
        """Return that all records of a batch wait again."""
        return cls(delivered=0, dead=0, retrying=claim.size, tripped=False)

    @classmethod
    def of(cls, claim: Claim, reply: Any) -> Self | None:
        """Return what `settle` or `split` moved; None if it changed nothing: the lease was lost."""
        match reply:
            case [delivered, dead, retrying, tripped]:
                return cls(delivered, dead, retrying, tripped == b"1")
            case [_, _]:  # the sizes of two halves
                return cls.unmoved(claim)
        return None


@dataclass(frozen=True, slots=True)
class Settle:
    """Each record goes where its verdict says: the one in ``named`` for its position, or ``usual``.

    ``delay_ms`` is how long the records to be retried wait; ``ambiguous`` is how many of them the
    vendor may already have taken.
    """

    usual: Verdict
    named: Sequence[tuple[int, Verdict]] = field(default_factory=tuple)
    counts_attempt: bool = True
    delay_ms: int = 0
    ambiguous: int = 0


@dataclass(frozen=True, slots=True)
class Split:
    """The batch is halved, in order; ``lower_bytes`` asks for smaller batches from now on."""

    error: str
    lower_bytes: bool = False


@dataclass(frozen=True, slots=True)
class ExpiredLeases:
    """Expired leases: batches not begun; batches of dead workers, and their records."""

    unbegun: int
    died: int
    records: int


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a response means for adaptive concurrency: the signal, the jitter of the back-off, in
    [0, 1), and the vendor's Retry-After."""

    signal: Signal
    random: float
    wait_ms: int = 0


@dataclass(frozen=True, slots=True)
class Finished:
    """What finishing a batch moved (None: the lease was lost), whether more may be claimed than
    before, and the batch that was claimed in the same round trip."""

    settled: Settled | None
    wider: bool
    following: Claim | None


def finish_call(
    destination: Destination, claim: Claim, action: Settle | Split, label: str, took_s: float | None
) -> tuple[str, Sequence[Any]]:
    """Return the script that finishes a batch, and its arguments."""
    size = bucket_of(claim.size, BATCH_RECORDS)
    measures: Sequence[Any] = (0, "", size)
    if took_s is not None:
        measures = (round(took_s * 1000), bucket_of(took_s, REQUEST_S), size)
    if isinstance(action, Settle):
        return "settle", _settle_arguments(destination, claim, action, label, measures)
    # A response clears the records of earlier deaths; without one, one more death splits a half.
    suspected = claim.deaths and not label
    deaths = max(0, destination.max_deaths - 1) if suspected else 0
    most_bytes = sum(map(len, claim.bodies)) // 2 if action.lower_bytes else 0
    halves = claim.batch, claim.token, new_id(), action.error, deaths, label, most_bytes
    return "split", (*halves, *measures)


def _settle_arguments(
    destination: Destination, claim: Claim, settle: Settle, label: str, measures: Sequence[Any]
) -> Sequence[Any]:
    delivered: Sequence[bytes] = ()
    if settle.usual.outcome is Outcome.DELIVERED:
        delivered = without(claim.heads, (at for at, _ in settle.named))
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
        *measures,
        _BLAMELESS,
        len(settle.named),
    ]
    for position, verdict in settle.named:
        arguments += [position, *_verdict_arguments(verdict)]
    for key, number in count_names(delivered).items():
        arguments += [key, number]
    return arguments


def _verdict_arguments(verdict: Verdict) -> list[Any]:
    code = "" if verdict.code is None else verdict.code
    return [verdict.outcome.value, verdict.reason, code, verdict.error]
