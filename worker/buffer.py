"""A destination's records in Redis: the truth of what is where.

Each method is one script, so one atomic step; `lua/` holds them. Whoever calls again after a lost
answer gets the same result: ids and tokens are made here, not in Redis, so that a repeated claim is
recognised, and a repeated settlement finds its token gone and changes nothing.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any
from zlib import crc32

import redis
import uuid_utils

from . import batching, histograms, keys
from .errors import BufferFull
from .records import accepted_at_ms
from .retry import Settle, Signal
from .scripts import run_together, script
from .settings import Destination
from .verdicts import Outcome, Verdict

STATUSES = ("running", "paused", "parked")
TOTALS = ("accepted", "delivered", "dead_lettered", "replayed", "purged", "ambiguous", "attempts")

# Between a refusal (429) and the next try above what it taught: with 120 successes between,
# refusals stay under one in a hundred; five seconds bound how long new capacity goes unnoticed
# where there are as many (measured: 8 to 15 requests in 4 s; 2 to 4, at 20 a second, in 7 s).
PATIENCE = 120
PATIENCE_MS = 5000


@dataclass(frozen=True, slots=True)
class Claim:
    """A leased batch: the heads of its records and their bodies, which are what is sent.

    Both are empty until the claim was begun. Times are epoch ms; ``wait_ms`` is how long to wait,
    from when it was begun, before it is sent; ``alone`` tells that the vendor took
    others of this kind since it last took none of these.
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
    alone: bool = False

    @property
    def records(self) -> list[bytes]:
        """The records as they are stored."""
        return [b"%b\n%b" % each for each in zip(self.heads, self.bodies, strict=True)]


@dataclass(frozen=True, slots=True)
class Settled:
    """What a settlement moved, in records; ``tripped`` tells that it set off the flood breaker."""

    delivered: int
    dead: int
    retrying: int
    tripped: bool


@dataclass(frozen=True, slots=True)
class Recovered:
    """What ran out of its lease: batches nobody had begun; batches whose worker died, and their
    records."""

    unbegun: int
    died: int
    records: int


@dataclass(frozen=True, slots=True)
class Adapted:
    """What a destination learned: requests it may have under way, ms until the next claim, and
    whether more may be claimed than before."""

    concurrency: int
    pause_ms: int
    wider: bool


@dataclass(frozen=True, slots=True)
class Lesson:
    """What an answer teaches the destination: its signal, a random number in [0, 1) for the
    back-off, and the wait that the vendor asked for."""

    signal: Signal
    random: float
    wait_ms: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
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


@dataclass(frozen=True, slots=True)
class Requests:
    """How long the requests of one kind took, and how many records they had.

    Counts by the names of the buckets in `histograms`, and sums in ms and records. A request
    whose worker died is in neither: nobody knows how long it took.
    """

    took: Mapping[str, int] = field(default_factory=dict)
    took_ms: int = 0
    sizes: Mapping[str, int] = field(default_factory=dict)
    records: int = 0


@dataclass(frozen=True, slots=True)
class Places:
    """Where the records of one kind are, and the totals since the beginning."""

    buffered: int
    in_flight: int
    retrying: int
    dead: int
    oldest_wait_s: float
    totals: Mapping[str, int]
    requests: Requests = field(default_factory=Requests)

    @property
    def open(self) -> int:
        """Records that are still on their way."""
        return self.buffered + self.in_flight + self.retrying

    @property
    def adds_up(self) -> bool:
        """Whether every accepted record is in one place."""
        gone = self.totals["delivered"] + self.totals["purged"]
        return self.totals["accepted"] == self.open + self.dead + gone


@dataclass(frozen=True, slots=True)
class Status:
    """A destination at one moment; ``answers`` counts the vendor's answers by status.

    ``expired`` counts leases that ran out: `begun` (a worker died) and `waiting` (none began).
    ``missing`` events: so many too few did the vendor count on days that are over, when its counts
    were last compared (``reconciled_ms``).
    """

    state: str
    reason: str | None
    since_ms: int | None
    concurrency: int
    in_use: int
    kinds: Mapping[str, Places]
    codes: Mapping[str, Mapping[str, int]]
    answers: Mapping[str, int]
    last_tick_ms: int | None
    ticks: int = 0
    memory_full: bool = False
    expired: Mapping[str, int] = field(default_factory=dict)
    reconciled_ms: int | None = None
    missing: int = 0


def new_id() -> str:
    """A time-ordered id (UUIDv7), 32 hex digits."""
    return str(uuid_utils.uuid7().hex)


def identity_hash(identity: bytes) -> bytes:
    """Four bytes that choose an identity's partition: CRC-32, which is the same for ever."""
    return struct.pack(">I", crc32(identity))


def accept_arguments(
    destination: Destination, kind: str, identities: Sequence[bytes], stored: Sequence[bytes]
) -> list[Any]:
    """The arguments of `accept`: pure, so that both producers share it."""
    settings = destination.kinds[kind]
    hashes = b"".join(map(identity_hash, identities)) if settings.ordered else b""
    return [kind, settings.partitions, destination.max_buffered, hashes, *stored]


def accepted(destination: Destination, answer: int) -> None:
    """Raise BufferFull when `accept` answered that it took nothing."""
    if answer == -1:
        raise BufferFull(
            f"{destination.name}: the buffer holds its limit of {destination.max_buffered} records"
        )
    if answer == -2:
        raise BufferFull(f"{destination.name}: Redis is nearly out of memory")


class Buffer:
    """The worker's hands on one destination's records."""

    def __init__(self, client: redis.Redis, destination: Destination) -> None:
        self.client = client
        self.destination = destination
        self._base = keys.base(destination.name)
        self._lease_ms = int(destination.lease_s * 1000)
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
        args = accept_arguments(self.destination, kind, identities, stored)
        accepted(self.destination, self._run("accept", *args))

    def claim(self, *, begun: bool) -> Claim | None:
        """Lease a batch that is ready, or None; ``begun`` when the caller sends it at once."""
        batch_id = new_id()
        args = self._claim_arguments(batch_id, begun=begun)
        if not begun:
            return _claim(self._run("claim", *args), ())
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
        *answers, claimed, records = run_together(self.client, self._base, calls, key)
        if claimed is not None and claimed[0] != batch_id.encode():
            key = keys.batch(self.destination.name, claimed[0].decode())
            records = self.client.lrange(key, 0, -1)
        return answers, _claim(claimed, records)

    def turn(self, claim: Claim, settle: Settle, label: str, took_s: float, lesson: Lesson) -> Turn:
        """Learn from an answer, settle its batch, and claim the next one, in one round trip."""
        batch_id = new_id()
        calls = [
            ("adapt", self._adapt_arguments(claim.begun_ms, lesson)),
            ("settle", _settle_arguments(self.destination, claim, settle, label, took_s)),
            ("claim", self._claim_arguments(batch_id, begun=True)),
        ]
        (adapted, settled), following = self._together(calls, batch_id)
        return Turn(_settled(settled), _adapted(adapted).wider, following)

    def settle(
        self, claim: Claim, settle: Settle, label: str, took_s: float | None = None
    ) -> Settled | None:
        """Move each record to the place its verdict names; None when the lease is ours no more.

        ``label`` names the vendor's answer, '' when nothing was sent; ``took_s`` is for statistics.
        """
        arguments = _settle_arguments(self.destination, claim, settle, label, took_s)
        return _settled(self._run("settle", *arguments))

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

        ``lower_to`` is the most bytes a batch may have from now on (the vendor answered 413).
        """
        deaths = max(0, self.destination.max_deaths - 1) if claim.deaths else 0
        args = (claim.batch, claim.token, new_id(), error, deaths, label, lower_to)
        return self._run("split", *args, *_measures(claim, took_s)) is not None

    def recover(self, *, unbegun: bool = False) -> Recovered:
        """Let batches whose lease ran out wait again; with ``unbegun``, those not begun too."""
        return Recovered(*self._run("recover", int(unbegun)))

    def adapt(self, begun_ms: int, lesson: Lesson) -> Adapted:
        """Teach the destination an answer to what was begun then."""
        return _adapted(self._run("adapt", *self._adapt_arguments(begun_ms, lesson)))

    def _adapt_arguments(self, begun_ms: int, lesson: Lesson) -> Sequence[Any]:
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
        return bool(self._run("steer", "paused", reason, "running,parked"))

    def resume(self) -> bool:
        """Start deliveries again; False when they were running."""
        return bool(self._run("steer", "running", "", "paused,parked"))

    def park(self, reason: str) -> bool:
        """Stop deliveries because the vendor refuses credentials or address."""
        return bool(self._run("steer", "parked", reason, "running"))

    def unpark(self) -> bool:
        """Start deliveries again after a probe passed; never undoes a person's pause."""
        return bool(self._run("steer", "running", "", "parked"))

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
        return int(self._run("memory")) / 1000

    def unticked_s(self) -> float:
        """Seconds since a drain ran anywhere; infinity when none ever did."""
        since_ms = self._run("unticked")
        return float("inf") if since_ms is None else int(since_ms) / 1000

    def note_reconciled(self, at_ms: int, missing: int) -> None:
        """Keep for the status what a comparison with the vendor's counts found."""
        found: list[str | int] = ["reconciled_at", at_ms, "missing", missing]
        self.client.hset(keys.state(self.destination.name), items=found)

    def status(self) -> Status:
        """Where every record is, at one moment."""
        return _status(self.destination, self._run("status", *self.destination.kinds))


def _claim(answer: Any, records: Sequence[bytes]) -> Claim | None:
    if answer is None:
        return None
    batch_id, raw = answer
    batch = json.loads(raw)
    begun_ms = int(batch["begun"])
    heads, bodies = batching.cut(records)
    return Claim(
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
        wait_ms=max(0.0, batch.get("slot", 0) - begun_ms) if begun_ms else 0.0,
        alone=batch.get("alone", False),
    )


def _settled(answer: Any) -> Settled | None:
    if answer is None:
        return None
    return Settled(answer[0], answer[1], answer[2], tripped=answer[3] == b"1")


def _adapted(answer: Any) -> Adapted:
    return Adapted(concurrency=answer[0], pause_ms=answer[1], wider=bool(answer[2]))


def _verdict_arguments(verdict: Verdict) -> list[Any]:
    code = "" if verdict.code is None else verdict.code
    return [verdict.outcome.value, verdict.reason, code, verdict.error]


def _measures(claim: Claim, took_s: float | None) -> tuple[int, str, str]:
    """What the histograms count of a request: ms, and the buckets of time and size."""
    size = histograms.bound(claim.size, histograms.BATCH_RECORDS)
    if took_s is None:
        return 0, "", size
    return round(took_s * 1000), histograms.bound(took_s, histograms.REQUEST_S), size


def _settle_arguments(
    destination: Destination, claim: Claim, settle: Settle, label: str, took_s: float | None
) -> list[Any]:
    if settle.usual.outcome is Outcome.DELIVERED:
        delivered = batching.without(claim.heads, (at for at, _ in settle.named))
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
        batching.ids(delivered) if destination.journal_settlements else b"",
        destination.flood_window,
        destination.flood_share,
        destination.tally_days,
        *_measures(claim, took_s),
        len(settle.named),
    ]
    for position, verdict in settle.named:
        arguments += [position, *_verdict_arguments(verdict)]
    for key, number in batching.tallies(delivered).items():
        arguments += [key, number]
    return arguments


def _texts(flat: Sequence[bytes]) -> dict[str, str]:
    decoded = [each.decode("utf-8", "replace") for each in flat]
    return dict(zip(decoded[::2], decoded[1::2], strict=True))


def _held_back(state: Mapping[str, str], now_ms: int) -> str | None:
    """Why a running destination sends nothing just now, in words; None when it may send."""
    left_s = (int(float(state.get("open_at", 0))) - now_ms) // 1000
    if left_s <= 0:
        return None
    return f"held back for {left_s} s, after failures or at the vendor's wish"


def _status(destination: Destination, answer: Sequence[Any]) -> Status:
    state, counters = _texts(answer[0]), _texts(answer[-1])
    kinds: dict[str, Places] = {}
    codes: dict[str, dict[str, int]] = {}
    for kind, (buffered, in_flight, retrying, dead, oldest) in zip(
        destination.kinds, answer[3:-1], strict=True
    ):
        waited_ms = answer[2] - accepted_at_ms(oldest.decode()) if oldest else 0
        totals = {name: int(counters.get(f"{kind}:{name}", 0)) for name in TOTALS}
        waited_s = max(0, waited_ms) / 1000
        requests = _requests(counters, kind)
        kinds[kind] = Places(buffered, in_flight, retrying, dead, waited_s, totals, requests)
        codes[kind] = _prefixed(counters, f"{kind}:code:")
    return Status(
        state=state.get("status", "running"),
        reason=state.get("reason") or _held_back(state, answer[2]),
        since_ms=int(state["since"]) if "since" in state else None,
        concurrency=int(state.get("concurrency", destination.concurrency)),
        in_use=answer[1],
        kinds=kinds,
        codes=codes,
        answers=_prefixed(counters, "answer:"),
        last_tick_ms=int(state["ticked_at"]) if "ticked_at" in state else None,
        ticks=int(state.get("ticks", 0)),
        memory_full=state.get("memory_full") == "1",
        expired=_prefixed(counters, "lease:"),
        reconciled_ms=int(state["reconciled_at"]) if "reconciled_at" in state else None,
        missing=int(state.get("missing", 0)),
    )


def _requests(counters: Mapping[str, str], kind: str) -> Requests:
    return Requests(
        took=_prefixed(counters, f"{kind}:took:"),
        took_ms=int(counters.get(f"{kind}:took_ms", 0)),
        sizes=_prefixed(counters, f"{kind}:size:"),
        records=int(counters.get(f"{kind}:size", 0)),
    )


def _prefixed(counters: Mapping[str, str], prefix: str) -> dict[str, int]:
    return {
        key.removeprefix(prefix): int(n) for key, n in counters.items() if key.startswith(prefix)
    }
