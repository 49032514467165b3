"""The retry decision: what to do with a batch before and after an attempt, as a value.

By the class of the vendor's response (docs/lifecycle.md has the same by HTTP status):

    answered               each record by its verdict; a retry counts as an attempt
    garbled                retried, at most ``max_attempts`` times, then dead as ``unconfirmed``;
                           dead at once if the destination must send nothing twice
                           (``ambiguous = "dead_letter"``)
    refused, too_large     halved until the record at fault stands alone; that one dies
    denied                 waits, no attempt counted; the destination is parked
    throttled              retried after the vendor's Retry-After or a back-off, no attempt counted
    unavailable,
    unreachable            retried with back-off, no attempt counted, until ``retry_horizon``, then
                           dead as ``expired``; halved if only this batch gets a 5xx for long
    ambiguous              the same, and counted as ambiguous; or dead as ``ambiguous``, at once, if
                           the destination must send nothing twice
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ..buffer.claims import Settle, Signal, Split
from ..connections.backoff import backoff
from ..settings.destination import Destination
from ..vendors.protocol import DELIVERED, Outcome, ResponseClass, UploadResult, Verdict
from ..vendors.reasons import DeadLetterReason


@dataclass(frozen=True, slots=True)
class Attempt:
    """What the decision depends on besides the response: times in epoch ms, counts as stored; and
    ``isolated`` if the vendor took others of the kind since it last took none of this batch."""

    size: int
    attempt: int
    first_claim_ms: int
    now_ms: int
    isolated: bool = False

    @property
    def age_ms(self) -> int:
        """The time since the batch was first claimed; none if the clock went back."""
        return max(0, self.now_ms - self.first_claim_ms)


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of the batch, and what the destination learns from the response.

    ``park`` is the reason to stop the destination, ``wait_ms`` the vendor's Retry-After.
    """

    action: Settle | Split
    signal: Signal | None = None
    park: str = ""
    wait_ms: int = 0


# The batch is not sent, and waits again as if it had not been begun.
HAND_BACK: Final = Decision(Settle(Verdict(Outcome.RETRY, "handed_back"), counts_attempt=False))
_OVERTAKEN = "an older update of the same identity goes again"
OVERTAKEN: Final = Verdict(Outcome.RETRY, DeadLetterReason.OVERTAKEN, None, _OVERTAKEN)


def decide_unsent(deaths: int, size: int, destination: Destination) -> Decision | None:
    """Return what becomes of a batch that must not be sent again; None if it may be sent.

    ``deaths`` counts the workers that died with the batch; each of them may have sent it.
    """
    if deaths and destination.sends_once:
        error = "its worker did not come back: it may have been sent"
        return Decision(_die(DeadLetterReason.AMBIGUOUS, None, error))
    if deaths >= destination.max_deaths:
        error = f"{deaths} workers died of this batch"
        return Decision(Split(error) if size > 1 else _die(DeadLetterReason.POISON, None, error))
    return None


def decide(
    answer: UploadResult, attempt: Attempt, destination: Destination, random: float
) -> Decision:
    """Return the decision for one result. Pure, and covers every response class."""
    wait_ms = int(1000 * (answer.retry_after_s or 0))
    match answer.response_class:
        case ResponseClass.ANSWERED:
            return Decision(_by_verdicts(answer.verdicts, attempt, destination, random), "success")
        case ResponseClass.GARBLED:
            unknown = Verdict(Outcome.RETRY, DeadLetterReason.UNCONFIRMED, None, answer.error)
            verdicts = [unknown] * attempt.size
            return Decision(_by_verdicts(verdicts, attempt, destination, random), "failure")
        case ResponseClass.REFUSED | ResponseClass.TOO_LARGE:
            return Decision(_isolate(answer, attempt), "success")
        case ResponseClass.DENIED:  # operators read in the status what to do
            park = (
                f"{answer.status}: {answer.error}; check its credentials and address: "
                f"a probe every {destination.probe_interval_s:g} s will resume it"
            )
            return Decision(_retry(answer), park=park)
        case ResponseClass.THROTTLED:
            settle = _retry(answer, wait_ms or backoff_ms(0, destination, random))
            return Decision(settle, "throttled", wait_ms=wait_ms)
        case ResponseClass.UNAVAILABLE | ResponseClass.UNREACHABLE | ResponseClass.AMBIGUOUS:
            action = _after_failure(answer, attempt, destination, random)
            return Decision(action, "failure", wait_ms=wait_ms)


def backoff_ms(attempt: int, destination: Destination, random: float) -> int:
    """Return the wait after an attempt, with full jitter; ``random`` is in [0, 1)."""
    base_s, cap_s = destination.backoff_base_s, destination.backoff_cap_s
    return int(1000 * backoff(attempt, base_s, cap_s, random))


def wait_by_age_ms(attempt: Attempt, destination: Destination, random: float) -> int:
    """Return how long a batch waits that failed through no fault of a record: longer with its age.

    While nothing succeeds, the whole destination holds back. This is for a batch that fails while
    others succeed: without it, that batch would be sent every second, before all others. A quarter
    of its age is short after a short outage, and soon makes its attempts rare.
    """
    base_s = max(destination.backoff_base_s, attempt.age_ms / 4000)
    return int(1000 * backoff(0, base_s, destination.backoff_cap_s, random))


def _retry(answer: UploadResult, delay_ms: int = 0, ambiguous: int = 0) -> Settle:
    """Return that the whole batch is sent again, which does not count as an attempt."""
    again = Verdict(Outcome.RETRY, answer.response_class.value, answer.status, answer.error)
    return Settle(again, counts_attempt=False, delay_ms=delay_ms, ambiguous=ambiguous)


def _die(reason: DeadLetterReason, code: int | None, error: str) -> Settle:
    """Return that the whole batch becomes dead letters, which does not count as an attempt."""
    return Settle(Verdict(Outcome.DEAD, reason, code, error), counts_attempt=False)


def _by_verdicts(
    verdicts: Sequence[Verdict], attempt: Attempt, destination: Destination, random: float
) -> Settle:
    """Apply the verdicts; on the last attempt, a record to retry dies, for the same reason."""
    last = attempt.attempt + 1 >= destination.max_attempts
    once = destination.sends_once
    delay_ms = backoff_ms(attempt.attempt, destination, random)

    def is_unconfirmed(verdict: Verdict) -> bool:
        return verdict.reason == DeadLetterReason.UNCONFIRMED

    def final(verdict: Verdict) -> Verdict:
        dies = last or (once and is_unconfirmed(verdict))
        retried = verdict.outcome is Outcome.RETRY
        return replace(verdict, outcome=Outcome.DEAD) if retried and dies else verdict

    if verdicts.count(verdicts[0]) == len(verdicts):
        usual, named = final(verdicts[0]), []
        unconfirmed = len(verdicts) if is_unconfirmed(verdicts[0]) else 0
    else:
        open_or_dead = [(at, v) for at, v in enumerate(verdicts, 1) if v is not DELIVERED]
        usual, named = DELIVERED, [(at, final(verdict)) for at, verdict in open_or_dead]
        unconfirmed = sum(is_unconfirmed(verdict) for _, verdict in open_or_dead)
    return Settle(usual, named, delay_ms=delay_ms, ambiguous=0 if last or once else unconfirmed)


def _isolate(answer: UploadResult, attempt: Attempt) -> Settle | Split:
    """Halve the batch until the record that the vendor refuses stands alone."""
    too_large = answer.response_class is ResponseClass.TOO_LARGE
    if attempt.size > 1:
        return Split(f"{answer.status}: {answer.error}", lower_bytes=too_large)
    reason = DeadLetterReason.TOO_LARGE if too_large else DeadLetterReason.REFUSED
    return Settle(Verdict(Outcome.DEAD, reason, answer.status, answer.error))


def _is_poison_suspect(answer: UploadResult, attempt: Attempt, destination: Destination) -> bool:
    """Return whether a record of the batch seems to make the vendor fail.

    The vendor takes other batches, and has failed on this one for 1/24 of the horizon (an hour of a
    day).
    """
    suspect_after_ms = destination.retry_horizon_s * 1000 / 24
    failed = answer.response_class is ResponseClass.UNAVAILABLE
    return failed and attempt.isolated and attempt.size > 1 and attempt.age_ms >= suspect_after_ms


def _after_failure(
    answer: UploadResult, attempt: Attempt, destination: Destination, random: float
) -> Settle | Split:
    """Return what becomes of a batch that the vendor did not answer, or answered with a 5xx."""
    if _is_poison_suspect(answer, attempt, destination):
        return Split(f"{answer.status}: {answer.error}")
    ambiguous = answer.response_class is ResponseClass.AMBIGUOUS
    if ambiguous and destination.sends_once:
        return _die(DeadLetterReason.AMBIGUOUS, None, answer.error)
    if attempt.age_ms >= destination.retry_horizon_s * 1000:
        return _die(DeadLetterReason.EXPIRED, answer.status, answer.error)
    delay_ms = wait_by_age_ms(attempt, destination, random)
    return _retry(answer, delay_ms, ambiguous=attempt.size if ambiguous else 0)


def requeue_overtaken(
    settle: Settle,
    records: Sequence[bytes],
    identity: Callable[[bytes], bytes],
    *,
    once: bool = False,
) -> Settle:
    """Also retry delivered records that follow a retried record of the same identity.

    The vendor took the newer update and not the older: sent alone, the older would come last.
    A delivered record that is retried counts as ambiguous, because it becomes a duplicate. With
    ``once`` nothing may be sent twice: then the older update dies, and a person decides.
    ``identity`` returns a stored record's identity; it is called only for such mixed results.
    """
    if settle.usual.outcome is not Outcome.DELIVERED:
        return settle
    named = dict(settle.named)
    again = [at for at, verdict in named.items() if verdict.outcome is Outcome.RETRY]
    if not again:
        return settle
    identities = {at: identity(records[at - 1]) for at in range(min(again), len(records) + 1)}
    taken = [at for at in identities if at not in named]
    if once:
        last = {identities[at]: at for at in taken}
        for at in again:
            if last.get(identities[at], 0) > at:
                dead = replace(named[at], outcome=Outcome.DEAD, reason=DeadLetterReason.OVERTAKEN)
                named[at] = dead
        return replace(settle, named=sorted(named.items()))
    first = {identities[at]: at for at in sorted(again, reverse=True)}
    overtaken = [at for at in taken if first.get(identities[at], at) < at]
    named.update(dict.fromkeys(overtaken, OVERTAKEN))
    return replace(settle, named=sorted(named.items()), ambiguous=settle.ambiguous + len(overtaken))
