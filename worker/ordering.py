"""Order within one answer: an older update must not be sent again after a newer one was taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from .retry import Settle
from .verdicts import Outcome, Verdict

OVERTAKEN = Verdict(
    Outcome.RETRY, "overtaken", None, "an older update of the same identity goes again"
)


def keep_order(
    settle: Settle, records: Sequence[bytes], identity: Callable[[bytes], bytes]
) -> Settle:
    """Send again, too, what was taken after a record of the same identity that is sent again.

    The vendor took the newer update and not the older: sent alone, the older would have the last
    word. What goes again though it was taken is counted as ambiguous, for it is a duplicate.
    ``identity`` tells whose a stored record is; it is asked only when an answer is so mixed.
    """
    if settle.usual.outcome is not Outcome.DELIVERED:
        return settle
    named = dict(settle.named)
    again = [at for at, verdict in named.items() if verdict.outcome is Outcome.RETRY]
    if not again:
        return settle
    behind: set[bytes] = set()
    overtaken: list[int] = []
    for at in range(min(again), len(records) + 1):
        whose = identity(records[at - 1])
        if at not in named:
            if whose in behind:
                overtaken.append(at)
        elif named[at].outcome is Outcome.RETRY:
            behind.add(whose)
    if not overtaken:
        return settle
    named.update(dict.fromkeys(overtaken, OVERTAKEN))
    return replace(settle, named=sorted(named.items()), ambiguous=settle.ambiguous + len(overtaken))
