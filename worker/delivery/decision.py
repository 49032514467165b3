"""What to do with a batch after an attempt: a decision, as a value; `delivery` carries it out.

Rows of the table, by the class of the vendor's response:

    answered               each record by its verdict; a retry counts an attempt
    garbled                unknown: again, bounded, then dead as ``unconfirmed``; at once where the
                           account asks that nothing be sent twice (``ambiguous = "dead_letter"``)
    refused, too_large     halved until the offender stands alone; alone, it dies
    denied                 untouched; the destination is parked
    throttled              untouched; again after the vendor's wish or a back-off
    unavailable,
    unreachable            untouched; again with back-off until the horizon, then dead: ``expired``;
                           halved when it alone makes the vendor fail (5xx) for long
    ambiguous              the same, and counted; or dead as ``ambiguous``, if the account asks so
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..buffer.claims import Settle, Signal
from ..connections.backoff import backoff
from ..settings.destination import Destination
from ..vendors.protocol import DELIVERED, Outcome, ResponseClass, UploadResult, Verdict
from ..vendors.reasons import DeadLetterReason


@dataclass(frozen=True, slots=True)
class Attempt:
    """What the decision depends on besides the answer: times in epoch ms, counts as stored.

    ``isolated`` says that the vendor took others of its kind since it last took none of this batch.
    """

    size: int
    attempt: int
    first_claim_ms: int
    now_ms: int
    isolated: bool = False

    @property
    def age_ms(self) -> int:
        """The time since the batch was first claimed; none when the clock went back."""
        return max(0, self.now_ms - self.first_claim_ms)


@dataclass(frozen=True, slots=True)
class Split:
    """The batch is halved; ``lower_bytes`` asks for smaller batches from now on."""

    error: str
    lower_bytes: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of the batch, and what the destination learns from the answer.

    ``park`` is the reason to stop the destination, ``wait_ms`` the wait that the vendor asked for.
    """

    action: Settle | Split
    signal: Signal | None = None
    park: str = ""
    wait_ms: int = 0


def backoff_ms(attempt: int, destination: Destination, random: float) -> int:
    """Return the wait after an attempt, with full jitter; ``random`` is in [0, 1)."""
    base_s, cap_s = destination.backoff_base_s, destination.backoff_cap_s
    return int(1000 * backoff(attempt, base_s, cap_s, random))


def wait_by_age_ms(attempt: Attempt, destination: Destination, random: float) -> int:
    """How long a batch waits that failed for no fault of a record: the longer, the older it is.

    The destination holds back as a whole while nothing succeeds; this is for the batch that alone
    makes the vendor fail, and would else be sent again every second, before all others. A quarter
    of its age is little after a short outage, and lets its tries grow rare.
    """
    base_s = max(destination.backoff_base_s, attempt.age_ms / 4000)
    return int(1000 * backoff(0, base_s, destination.backoff_cap_s, random))


def decide(
    answer: UploadResult, attempt: Attempt, destination: Destination, random: float
) -> Decision:
    """Return the decision for one result; total over every response class, and pure."""
    match answer.response_class:
        case ResponseClass.ANSWERED:
            return Decision(_by_verdicts(answer.verdicts, attempt, destination, random), "success")
        case ResponseClass.GARBLED:
            unknown = Verdict(Outcome.RETRY, DeadLetterReason.UNCONFIRMED, None, answer.error)
            settle = _by_verdicts([unknown] * attempt.size, attempt, destination, random)
            return Decision(settle, "failure")
        case ResponseClass.REFUSED | ResponseClass.TOO_LARGE:
            return Decision(_isolate(answer, attempt), "success")
        case ResponseClass.DENIED:
            settle = Settle(_again(answer), counts_attempt=False)
            return Decision(settle, park=_parking(answer, destination))
        case ResponseClass.THROTTLED:
            return _throttled(answer, destination, random)
        case ResponseClass.UNAVAILABLE | ResponseClass.UNREACHABLE | ResponseClass.AMBIGUOUS:
            wait_ms = int(1000 * (answer.retry_after_s or 0))
            return Decision(
                _failed(answer, attempt, destination, random), "failure", wait_ms=wait_ms
            )


def _parking(answer: UploadResult, destination: Destination) -> str:
    """Why the destination is parked, and what to do: an operator reads it in the status."""
    return (
        f"{answer.status}: {answer.error}; check its credentials and address: "
        f"a probe every {destination.probe_interval_s:g} s takes it up again"
    )


def _again(answer: UploadResult) -> Verdict:
    return Verdict(Outcome.RETRY, answer.response_class.value, answer.status, answer.error)


def _by_verdicts(
    verdicts: Sequence[Verdict], attempt: Attempt, destination: Destination, random: float
) -> Settle:
    """Close verdicts: what was tried too often dies under the reason it was tried again for."""
    last = attempt.attempt + 1 >= destination.max_attempts
    once = destination.sends_once
    delay_ms = backoff_ms(attempt.attempt, destination, random)

    def closed(verdict: Verdict) -> Verdict:
        final = last or (once and verdict.reason == DeadLetterReason.UNCONFIRMED)
        if verdict.outcome is Outcome.RETRY and final:
            return Verdict(Outcome.DEAD, verdict.reason, verdict.code, verdict.error)
        return verdict

    unconfirmed = 0
    if verdicts.count(verdicts[0]) == len(verdicts):
        usual, named = closed(verdicts[0]), []
        if verdicts[0].reason == DeadLetterReason.UNCONFIRMED:
            unconfirmed = len(verdicts)
    else:
        open_or_dead = [(at, v) for at, v in enumerate(verdicts, 1) if v is not DELIVERED]
        usual, named = DELIVERED, [(at, closed(verdict)) for at, verdict in open_or_dead]
        unconfirmed = sum(
            verdict.reason == DeadLetterReason.UNCONFIRMED for _, verdict in open_or_dead
        )
    return Settle(usual, named, delay_ms=delay_ms, ambiguous=0 if last or once else unconfirmed)


def _isolate(answer: UploadResult, attempt: Attempt) -> Settle | Split:
    if attempt.size > 1:
        return Split(
            f"{answer.status}: {answer.error}", answer.response_class is ResponseClass.TOO_LARGE
        )
    reason = (
        DeadLetterReason.TOO_LARGE
        if answer.response_class is ResponseClass.TOO_LARGE
        else DeadLetterReason.REFUSED
    )
    return Settle(Verdict(Outcome.DEAD, reason, answer.status, answer.error))


def _throttled(answer: UploadResult, destination: Destination, random: float) -> Decision:
    wait_ms = int(1000 * (answer.retry_after_s or 0))
    delay_ms = wait_ms or backoff_ms(0, destination, random)
    settle = Settle(_again(answer), counts_attempt=False, delay_ms=delay_ms)
    return Decision(settle, "throttled", wait_ms=wait_ms)


def _spoilt(answer: UploadResult, attempt: Attempt, destination: Destination) -> bool:
    """Whether a record of the batch seems to make the vendor fail: the vendor takes others, and
    has failed on this batch for a while (an hour, of the day that it may be tried for)."""
    alone_ms = destination.retry_horizon_s * 1000 / 24
    failed = answer.response_class is ResponseClass.UNAVAILABLE
    return failed and attempt.isolated and attempt.size > 1 and attempt.age_ms >= alone_ms


def _failed(
    answer: UploadResult, attempt: Attempt, destination: Destination, random: float
) -> Settle | Split:
    if _spoilt(answer, attempt, destination):
        return Split(f"{answer.status}: {answer.error}")
    ambiguous = answer.response_class is ResponseClass.AMBIGUOUS
    if ambiguous and destination.sends_once:
        return Settle(
            Verdict(Outcome.DEAD, DeadLetterReason.AMBIGUOUS, None, answer.error),
            counts_attempt=False,
        )
    if attempt.age_ms >= destination.retry_horizon_s * 1000:
        dead = Verdict(Outcome.DEAD, DeadLetterReason.EXPIRED, answer.status, answer.error)
        return Settle(dead, counts_attempt=False)
    delay_ms = wait_by_age_ms(attempt, destination, random)
    doubtful = attempt.size if ambiguous else 0
    return Settle(_again(answer), counts_attempt=False, delay_ms=delay_ms, ambiguous=doubtful)
