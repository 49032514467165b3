"""One batch, to the vendor and back: begin, send, decide, finish.

If the process dies on any line here, the batch's lease expires and the next drain makes the batch
wait again; if it was begun, its records count as ambiguous.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import random

from ..buffer.buffer import Buffer
from ..buffer.claims import Claim, Feedback, Settle, Settled
from ..settings.destination import Destination
from ..telemetry.logs import get_logger
from ..vendors.protocol import ResponseClass, Sender, UploadAdapter, UploadResult
from .decision import HAND_BACK, Attempt, Decision, decide, decide_unsent, requeue_overtaken

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RequestTiming:
    """A request that was made: when (epoch ns), how long it took, and the label of its answer."""

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

    def plus(self, claim: Claim, result: BatchResult) -> Delivery:
        """Return the sum with one more batch."""
        settled = result.settled
        kind = claim.kind if self.kind in ("", claim.kind) else "mixed"
        return replace(
            self,
            kind=kind,
            batches=self.batches + 1,
            records=self.records + claim.size,
            delivered=self.delivered + settled.delivered,
            dead=self.dead + settled.dead,
            retry=self.retry + settled.retrying,
            answer=result.answer,
        )


class Deliverer:
    """Delivers the batches of one destination; shared by the threads of a worker.

    ``stopping`` is called before each batch: if it returns True, nothing is sent. ``wait`` sleeps
    for that many seconds, until a batch may be sent, and may return early when the worker stops.
    ``on_more_capacity`` is called when more requests may be in flight than before, so that other
    threads join in. ``identity`` returns the identity of a stored record; it is called for
    ordered kinds, and seldom. ``on_request`` is called after every request; it must not raise.
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
    ) -> None:
        self.destination, self.buffer = destination, buffer
        self.vendor, self.sender = vendor, sender
        self.stopping, self.wait = stopping, wait
        self.on_more_capacity, self.on_request = on_more_capacity, on_request
        self.identity = identity
        self.random: Callable[[], float] = random
        self.clock: Callable[[], float] = time.monotonic  # as of `Claim.send_by_s`

    def run(self, batch: str, token: str, *, is_over: Callable[[], bool]) -> Delivery:
        """Deliver the batch claimed for this worker, then what is ready, until ``is_over()``."""
        return self._run(self.buffer.begin(batch, token), is_over)

    def run_ready(self, *, is_over: Callable[[], bool]) -> Delivery:
        """Claim and deliver what is ready, without a message for it, until ``is_over()``."""
        return self._run(self.buffer.claim(begun=True), is_over)

    def _run(self, claim: Claim | None, is_over: Callable[[], bool]) -> Delivery:
        done = Delivery(self.destination.name)
        while claim is not None:
            if claim.wait_ms:
                self.wait(claim.wait_ms / 1000)
            if self.stopping():
                self._finish(claim, HAND_BACK)
                return done
            result = self.deliver(claim, claim_next=lambda: not (is_over() or self.stopping()))
            done = done.plus(claim, result)
            claim = result.following
        return done

    def deliver(
        self, claim: Claim, *, claim_next: Callable[[], bool] = lambda: False
    ) -> BatchResult:
        """Send a batch once and finish it; claim the next one if ``claim_next`` then returns True.

        All of that is one round trip to Redis.
        """
        timing = None
        decision = decide_unsent(claim.deaths, claim.size, self.destination)
        if decision is None and self._is_too_late(claim):
            decision = HAND_BACK
        if decision is None:
            answer, timing = self._send(claim)
            decision = self._decide(claim, answer)
        return self._finish(claim, decision, timing, claim_next=claim_next())

    def _is_too_late(self, claim: Claim) -> bool:
        """Return whether the lease may end before the request: another worker would send it too.

        The process was frozen, or waited for a silent broker (measured: 76 s).
        """
        if self.clock() <= claim.send_by_s:
            return False
        log.warning(
            "not sent: too little was left of its lease; it waits again",
            destination=self.destination.name,
            batch=claim.batch,
        )
        return True

    def _send(self, claim: Claim) -> tuple[UploadResult, RequestTiming]:
        began_ns, began_s = time.time_ns(), time.perf_counter()
        answer = self.sender.send(self.vendor.upload(claim.kind, claim.bodies))
        if not isinstance(answer, UploadResult):
            answer = self.vendor.read(claim.kind, claim.size, answer)
        label = str(answer.status or answer.response_class.value)
        timing = RequestTiming(began_ns, time.perf_counter() - began_s, label)
        if self.on_request:
            self.on_request(claim, timing)
        return answer, timing

    def _decide(self, claim: Claim, answer: UploadResult) -> Decision:
        # Both times by Redis' clock: this machine's may be wrong.
        attempt = Attempt(
            claim.size, claim.attempt, claim.first_claim_ms, claim.begun_ms, claim.isolated
        )
        decision = decide(answer, attempt, self.destination, self.random())
        kind = self.destination.kinds.get(claim.kind)
        # A kind that was taken out of the configuration since may have been ordered.
        if isinstance(decision.action, Settle) and (kind is None or kind.ordered):
            once = self.destination.sends_once
            action = requeue_overtaken(decision.action, claim.records, self.identity, once=once)
            decision = replace(decision, action=action)
        return decision

    def _finish(
        self,
        claim: Claim,
        decision: Decision,
        timing: RequestTiming | None = None,
        *,
        claim_next: bool = False,
    ) -> BatchResult:
        """Carry out a decision: every delivery ends here; ``timing`` if the batch was sent."""
        label, took_s = (timing.label, timing.took_s) if timing else ("", None)
        if decision.park and self.buffer.park(decision.park):
            log.error(
                # The vendor's words are for `ingest status`: they may repeat what was sent.
                "destination parked: check its credentials and address; a probe brings it back",
                destination=self.destination.name,
                answer=label,
            )
        feedback = None
        if decision.signal:
            feedback = Feedback(decision.signal, self.random(), decision.wait_ms)
        finished = self.buffer.finish(
            claim, decision.action, label, took_s, feedback=feedback, claim_next=claim_next
        )
        settled = finished.settled or Settled.unmoved(claim)
        if timing:
            self._log(claim, settled, label, lost=finished.settled is None)
        if finished.wider:
            self._use_more_capacity()
        return BatchResult(settled, label, finished.following)

    def _log(self, claim: Claim, settled: Settled, label: str, *, lost: bool) -> None:
        if lost:
            log.warning(
                "settled too late: the lease ran out; the batch is sent again",
                destination=self.destination.name,
                batch=claim.batch,
            )
        elif settled.tripped:
            log.error(
                "destination paused: most of its last records became dead letters; "
                "look at `ingest dlq summary`, then `ingest resume` it",
                destination=self.destination.name,
            )
        log.info(
            "batch settled",
            destination=self.destination.name,
            batch=claim.batch,
            kind=claim.kind,
            records=claim.size,
            attempt=claim.attempt + 1,
            answer=label,
            delivered=settled.delivered,
            dead=settled.dead,
            retry=settled.retrying,
        )

    def _use_more_capacity(self) -> None:
        """Let other threads join in; if that fails, this thread delivers what is ready alone."""
        try:
            self.on_more_capacity()
        except Exception as error:  # noqa: BLE001 - whatever it is, the next tick asks again
            log.warning(
                "could not ask another thread to join in",
                destination=self.destination.name,
                error=type(error).__name__,
            )

    def probe(self) -> bool:
        """Ask a vendor that refused the account whether it accepts it; if so, start deliveries."""
        answer = self.sender.send(self.vendor.probe())
        if not isinstance(answer, UploadResult):
            answer = self.vendor.read_probe(answer)
        if answer.response_class is not ResponseClass.ANSWERED or not self.buffer.unpark():
            return False
        log.info("destination taken up again: a probe passed", destination=self.destination.name)
        return True
