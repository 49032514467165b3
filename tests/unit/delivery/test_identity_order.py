"""Which updates go again, so that no older one has the last word."""

from __future__ import annotations

import random

import pytest

from worker.buffer.claims import Settle
from worker.delivery.identity_order import OVERTAKEN, requeue_overtaken
from worker.vendors.protocol import DELIVERED, Outcome, Verdict

AGAIN = Verdict(Outcome.RETRY, "server_error", 555, "again")
DEAD = Verdict(Outcome.DEAD, "refused", 513, "no")


def identity_of(stored: bytes) -> bytes:
    """A record here is its identity's letter and a number."""
    return stored[:1]


@pytest.mark.parametrize(
    ("records", "named", "overtaken"),
    [
        ("a1 a2 b1", {1: AGAIN}, [2]),
        ("a1 a2 b1", {2: AGAIN}, []),
        ("a1 b1 a2 a3", {1: AGAIN, 3: AGAIN}, [4]),
        ("a1 b1 a2 a3", {1: AGAIN, 3: DEAD}, [4]),
        ("a1 a2", {1: DEAD}, []),
        ("a1 b1 c1", {2: AGAIN}, []),
        ("b1 a1 b2 a2", {1: AGAIN, 2: DEAD}, [3]),
    ],
)
def test_requeue_overtaken_retries_later_updates_of_the_identity(
    records: str, named: dict[int, Verdict], overtaken: list[int]
) -> None:
    """Accepted later updates of the same identity are sent again and counted, no others."""
    settle = Settle(DELIVERED, sorted(named.items()), delay_ms=7, ambiguous=2)
    kept = requeue_overtaken(settle, [each.encode() for each in records.split()], identity_of)
    again = {**named, **dict.fromkeys(overtaken, OVERTAKEN)}
    assert dict(kept.named) == again
    assert kept.ambiguous == 2 + len(overtaken)
    assert (kept.usual, kept.delay_ms) == (DELIVERED, 7)


@pytest.mark.parametrize(
    ("records", "named", "dead"),
    [
        ("a1 a2 b1", {1: AGAIN}, [1]),
        ("a1 a2 b1", {2: AGAIN}, []),
        ("a1 b1 a2 a3", {1: AGAIN, 4: AGAIN}, [1]),
        ("a1 b1 a2 a3", {1: AGAIN, 3: AGAIN}, [1, 3]),
        ("a1 a2 b1", {1: AGAIN, 2: DEAD, 3: AGAIN}, []),
    ],
)
def test_requeue_overtaken_once_buries_the_older_update(
    records: str, named: dict[int, Verdict], dead: list[int]
) -> None:
    """The older update is left to an operator, with the vendor's text; accepted ones stay so."""
    settle = Settle(DELIVERED, sorted(named.items()))
    kept = requeue_overtaken(
        settle, [each.encode() for each in records.split()], identity_of, once=True
    )
    buried = Verdict(Outcome.DEAD, "overtaken", AGAIN.code, AGAIN.error)
    assert dict(kept.named) == {**named, **dict.fromkeys(dead, buried)}
    assert kept.ambiguous == 0


@pytest.mark.parametrize("usual", [AGAIN, DEAD])
def test_requeue_overtaken_of_a_uniform_result_changes_nothing(usual: Verdict) -> None:
    """A batch that is retried as a whole keeps its order, so no identity is read."""
    settle = Settle(usual)
    assert requeue_overtaken(settle, [b"a1", b"a2"], lambda _: pytest.fail("asked")) is settle


def test_requeue_overtaken_leaves_the_newest_update_last(rng: random.Random) -> None:
    """Whatever is rejected temporarily, the vendor ends with the newest update."""
    for _ in range(500):
        records = [f"{rng.choice('abc')}{n}".encode() for n in range(rng.randint(1, 12))]
        taken: dict[bytes, bytes] = {}
        left = records
        while left:
            refused = {at for at in range(1, len(left) + 1) if rng.random() < 0.3}
            taken.update({identity_of(r): r for at, r in enumerate(left, 1) if at not in refused})
            settle = Settle(DELIVERED, [(at, AGAIN) for at in sorted(refused)])
            again = {at for at, _ in requeue_overtaken(settle, left, identity_of).named}
            left = [record for at, record in enumerate(left, 1) if at in again]
        assert taken == {identity_of(record): record for record in records}
