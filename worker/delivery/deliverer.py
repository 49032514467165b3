"""The way of one batch to the vendor and back: begin, send, decide, settle.

If the process dies on any line here, the batch's lease runs out and the next drain lets it wait
again; what was sent and not settled is counted as ambiguous then.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import random
from typing import Protocol

from ..buffer.buffer import Buffer
from ..buffer.claims import Claim, Feedback, Settle, SettleAndClaim, Settled
from ..settings.destination import Destination
from ..telemetry.logs import get_logger
from ..vendors.protocol import (
    Outcome,
    Request,
    Response,
    ResponseClass,
    UploadAdapter,
    UploadResult,
    Verdict,
)
from ..vendors.reasons import DeadLetterReason
from .decision import Attempt, Decision, Split, decide
from .identity_order import requeue_overtaken

log = get_logger(__name__)


class Sender(Protocol):
    """What carries a request out: the transport."""

    def send(self, request: Request) -> Response | UploadResult:
        """The vendor's response, or what its absence means."""


@dataclass(frozen=True, slots=True)
class RequestTiming:
    """One request that was made: when (epoch ns), how long it took, and its answer's label."""

    began_ns: int
    took_s: float
    label: str


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of one batch, the label of its answer, and the batch that was claimed next."""

    settled: Settled
    answer: str = ""
    following: Claim | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of the batches of one run, in records; shown as the task's result."""

    destination: str
    kind: str = ""
    batches: int = 0
    records: int = 0
    delivered: int = 0
    dead: int = 0
    retry: int = 0
    answer: str = ""

    def plus(self, claim: Claim, step: BatchResult) -> Delivery:
        """The sum with one more batch."""
        settled = step.settled
        kind = claim.kind if self.kind in ("", claim.kind) else "mixed"
        return replace(
            self,
            kind=kind,
            batches=self.batches + 1,
            records=self.records + claim.size,
            delivered=self.delivered + settled.delivered,
            dead=self.dead + settled.dead,
            retry=self.retry + settled.retrying,
            answer=step.answer,
        )


class Deliverer:
    """Delivers the batches of one destination; shared by the threads of a worker.

    ``stopping`` is asked before each batch: while it returns True, nothing is sent. ``wait`` sleeps
    for that many seconds, until a batch may be sent, and may return early when the worker stops.
    ``on_more_capacity`` is called when the destination bears more requests than before, so that
    other threads join in. ``identity`` returns the identity of a stored record; it is called for
    ordered kinds, and seldom. ``on_request`` is called after every request; it must not raise.
    ``clock`` is the buffer's own: a monotonic one.
    """

    def __init__(
        self,
        destination: Destination,
        buffer: Buffer,
        vendor: UploadAdapter,
        sender: Sender,
        *,
        stopping: Callable[[], bool] = lambda: False,
        wait: Callable[[float], object] = time.sleep,
        on_more_capacity: Callable[[], object] = lambda: None,
        identity: Callable[[bytes], bytes] = lambda _: b"",
        on_request: Callable[[Claim, RequestTiming], object] | None = None,
        random: Callable[[], float] = random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.destination = destination
        self.buffer = buffer
        self.vendor = vendor
        self.sender = sender
        self.stopping = stopping
        self.wait = wait
        self.on_more_capacity = on_more_capacity
        self.identity = identity
        self.on_request = on_request
        self.random = random
        self.clock = clock

    def run(self, batch: str, token: str, *, is_over: Callable[[], bool]) -> Delivery:
        """Deliver the batch claimed for us, then what is ready, until ``is_over`` says so."""
        return self._run(self.buffer.begin(batch, token), is_over)

    def run_ready(self, *, is_over: Callable[[], bool]) -> Delivery:
        """Deliver what is ready, though nobody asked, until ``is_over`` says so."""
        return self._run(self.buffer.claim(begun=True), is_over)

    def _run(self, claim: Claim | None, is_over: Callable[[], bool]) -> Delivery:
        done = Delivery(self.destination.name)
        while claim is not None:
            if claim.wait_ms:
                self.wait(claim.wait_ms / 1000)
            if self.stopping():
                self._hand_back(claim)
                return done
            step = self.deliver(claim, onward=lambda: not (is_over() or self.stopping()))
            done = done.plus(claim, step)
            claim = step.following
        return done

    def deliver(self, claim: Claim, *, onward: Callable[[], bool] = lambda: False) -> BatchResult:
        """One attempt: send the batch and settle it; and claim the next if ``onward`` then says so.

        With an answer all three are one round trip to Redis.
        """
        if claim.deaths and self.destination.sends_once:
            return BatchResult(self._bury_doubtful(claim), following=self._claim(onward()))
        if claim.deaths >= self.destination.max_deaths:
            return BatchResult(self._isolate_poison(claim), following=self._claim(onward()))
        if self._too_late(claim):
            self._hand_back(claim)
            return BatchResult(_nothing_moved(claim), following=self._claim(onward()))
        answer, tried = self._try(claim)
        # Both times by Redis' clock: this machine's may be wrong.
        attempt = Attempt(
            claim.size, claim.attempt, claim.first_claim_ms, claim.begun_ms, claim.isolated
        )
        decision = decide(answer, attempt, self.destination, self.random())
        if isinstance(decision.action, Settle) and self._ordered(claim.kind):
            once = self.destination.sends_once
            kept = requeue_overtaken(decision.action, claim.records, self.identity, once=once)
            decision = replace(decision, action=kept)
        done = self._carry_out(claim, decision, tried, onward=onward())
        settled = done.settled or _nothing_moved(claim)
        log.info(
            "batch settled",
            destination=self.destination.name,
            batch=claim.batch,
            kind=claim.kind,
            records=claim.size,
            attempt=claim.attempt + 1,
            answer=tried.label,
            delivered=settled.delivered,
            dead=settled.dead,
            retry=settled.retrying,
        )
        return BatchResult(settled, tried.label, done.following)

    def _too_late(self, claim: Claim) -> bool:
        """Whether the lease may end before the request does: another would send the batch, too.

        We were frozen, or asked for others at a broker that went silent (measured: 76 s).
        """
        late = self.clock() > claim.send_by_s
        if late:
            log.warning(
                "not sent: too little was left of its lease; it waits again",
                destination=self.destination.name,
                batch=claim.batch,
            )
        return late

    def _ordered(self, kind: str) -> bool:
        """Whether order is kept; also where the kind was taken out of the configuration since."""
        known = self.destination.kinds.get(kind)
        return known is None or known.ordered

    def _claim(self, onward: bool) -> Claim | None:
        return self.buffer.claim(begun=True) if onward else None

    def _try(self, claim: Claim) -> tuple[UploadResult, RequestTiming]:
        """Send, and take the time of it."""
        began_ns, began_s = time.time_ns(), time.perf_counter()
        answer = self._send(claim)
        label = str(answer.status or answer.response_class.value)
        tried = RequestTiming(began_ns, time.perf_counter() - began_s, label)
        if self.on_request:
            self.on_request(claim, tried)
        return answer, tried

    def _send(self, claim: Claim) -> UploadResult:
        request = self.vendor.upload(claim.kind, claim.bodies)
        response = self.sender.send(request)
        if isinstance(response, UploadResult):
            return response
        return self.vendor.read(claim.kind, claim.size, response)

    def _carry_out(
        self, claim: Claim, decision: Decision, tried: RequestTiming, *, onward: bool
    ) -> SettleAndClaim:
        """Teach the destination while the lease is ours, then move the records; and tell."""
        if decision.park and self.buffer.park(decision.park):
            log.error(
                # The vendor's words are for `ingest status`: they may repeat what was sent.
                "destination parked: check its credentials and address; a probe brings it back",
                destination=self.destination.name,
                answer=tried.label,
            )
        done = self._turn(claim, decision, tried, onward=onward)
        if done.settled is None:
            log.warning(
                "settled too late: the lease ran out; the batch is sent again",
                destination=self.destination.name,
                batch=claim.batch,
            )
        elif done.settled.tripped:
            log.error(
                "destination paused: most of its last records became dead letters; "
                "look at `ingest dlq summary`, then `ingest resume` it",
                destination=self.destination.name,
            )
        if done.wider:
            self._ask_others()
        return done

    def _ask_others(self) -> None:
        """Let other threads join in; without them, what was claimed for us is delivered as well."""
        try:
            self.on_more_capacity()
        except Exception as error:  # noqa: BLE001 - whatever it is, the next tick asks again
            log.warning(
                "could not ask another thread to join in",
                destination=self.destination.name,
                error=type(error).__name__,
            )

    def _turn(
        self, claim: Claim, decision: Decision, tried: RequestTiming, *, onward: bool
    ) -> SettleAndClaim:
        action, lesson = decision.action, None
        if decision.signal:
            lesson = Feedback(decision.signal, self.random(), decision.wait_ms)
        if onward and lesson and isinstance(action, Settle):
            return self.buffer.settle_and_claim(claim, action, tried.label, tried.took_s, lesson)
        wider = lesson is not None and self.buffer.adapt(claim.begun_ms, lesson).wider
        settled = self._move(claim, action, tried)
        return SettleAndClaim(settled, wider, self._claim(onward))

    def _move(self, claim: Claim, action: Settle | Split, tried: RequestTiming) -> Settled | None:
        if isinstance(action, Settle):
            return self.buffer.settle(claim, action, tried.label, tried.took_s)
        most = sum(map(len, claim.bodies)) // 2 if action.lower_bytes else 0
        moved = self.buffer.split(
            claim, action.error, tried.label, lower_to=most, took_s=tried.took_s
        )
        return _nothing_moved(claim) if moved else None

    def _bury_doubtful(self, claim: Claim) -> Settled:
        """A worker that did not come back may have sent it, and here nothing is sent twice."""
        error = "its worker did not come back: it may have been sent"
        dead = Settle(
            Verdict(Outcome.DEAD, DeadLetterReason.AMBIGUOUS, None, error), counts_attempt=False
        )
        return self.buffer.settle(claim, dead, "") or _nothing_moved(claim)

    def _isolate_poison(self, claim: Claim) -> Settled:
        """Halve a batch whose worker died too often; a single record so suspected dies instead."""
        error = f"{claim.deaths} workers died of this batch"
        if claim.size > 1:
            self.buffer.split(claim, error, "")
            return _nothing_moved(claim)
        dead = Settle(
            Verdict(Outcome.DEAD, DeadLetterReason.POISON, None, error), counts_attempt=False
        )
        return self.buffer.settle(claim, dead, "") or _nothing_moved(claim)

    def _hand_back(self, claim: Claim) -> None:
        """Let a batch that was not sent wait again, as if it had not been begun."""
        again = Settle(Verdict(Outcome.RETRY, "handed_back"), counts_attempt=False)
        self.buffer.settle(claim, again, "")

    def probe(self) -> bool:
        """Ask a vendor that had refused us whether it takes us again; if so, deliveries start."""
        response = self.sender.send(self.vendor.probe())
        answer = (
            response if isinstance(response, UploadResult) else self.vendor.read_probe(response)
        )
        if answer.response_class is ResponseClass.ANSWERED and self.buffer.unpark():
            log.info(
                "destination taken up again: a probe passed", destination=self.destination.name
            )
            return True
        return False


def _nothing_moved(claim: Claim) -> Settled:
    return Settled(delivered=0, dead=0, retrying=claim.size, tripped=False)
