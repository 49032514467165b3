"""Which updates go again, so that no older one has the last word."""

from __future__ import annotations

import random

import pytest

from worker.buffer.claims import Settle
from worker.delivery.identity_order import OVERTAKEN, requeue_overtaken
from worker.vendors.protocol import DELIVERED, Outcome, Verdict

AGAIN = Verdict(Outcome.RETRY, "server_error", 555, "again")
DEAD = Verdict(Outcome.DEAD, "refused", 513, "no")


def whose(stored: bytes) -> bytes:
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
def test_what_was_taken_behind_a_retry_goes_again(
    records: str, named: dict[int, Verdict], overtaken: list[int]
) -> None:
    """Of the same identity, later in the batch, taken: it goes again, counted; no other does."""
    settle = Settle(DELIVERED, sorted(named.items()), delay_ms=7, ambiguous=2)
    kept = requeue_overtaken(settle, [each.encode() for each in records.split()], whose)
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
def test_where_nothing_is_sent_twice_what_was_overtaken_dies(
    records: str, named: dict[int, Verdict], dead: list[int]
) -> None:
    """The older update is left to a person, under the vendor's words; what was taken stays so."""
    settle = Settle(DELIVERED, sorted(named.items()))
    kept = requeue_overtaken(settle, [each.encode() for each in records.split()], whose, once=True)
    buried = Verdict(Outcome.DEAD, "overtaken", AGAIN.code, AGAIN.error)
    assert dict(kept.named) == {**named, **dict.fromkeys(dead, buried)}
    assert kept.ambiguous == 0


@pytest.mark.parametrize("usual", [AGAIN, DEAD])
def test_an_answer_alike_for_all_is_left_alone(usual: Verdict) -> None:
    """A batch that goes again as a whole keeps its order by itself; nobody asks whose it is."""
    settle = Settle(usual)
    assert requeue_overtaken(settle, [b"a1", b"a2"], lambda _: pytest.fail("asked")) is settle


def test_the_newest_update_has_the_last_word(rng: random.Random) -> None:
    """Whatever is refused for now, a vendor that takes it in the end is left with the newest."""
    for _ in range(500):
        records = [f"{rng.choice('abc')}{n}".encode() for n in range(rng.randint(1, 12))]
        taken: dict[bytes, bytes] = {}
        left = records
        while left:
            refused = {at for at in range(1, len(left) + 1) if rng.random() < 0.3}
            taken.update({whose(r): r for at, r in enumerate(left, 1) if at not in refused})
            settle = Settle(DELIVERED, [(at, AGAIN) for at in sorted(refused)])
            again = {at for at, _ in requeue_overtaken(settle, left, whose).named}
            left = [record for at, record in enumerate(left, 1) if at in again]
        assert taken == {whose(record): record for record in records}
