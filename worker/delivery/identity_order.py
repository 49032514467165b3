"""Order within one response: never resend an older update after a newer one was delivered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ..buffer.claims import Settle
from ..vendors.protocol import Outcome, Verdict
from ..vendors.reasons import DeadLetterReason

_AGAIN = "an older update of the same identity goes again"
OVERTAKEN = Verdict(Outcome.RETRY, DeadLetterReason.OVERTAKEN, None, _AGAIN)


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
