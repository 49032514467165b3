"""The decision after an attempt, as a table: one row for each class of response."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.buffer.claims import Settle, Split
from worker.delivery.decision import (
    HAND_BACK,
    OVERTAKEN,
    Attempt,
    Decision,
    decide,
    decide_unsent,
    requeue_overtaken,
    wait_by_age_ms,
)
from worker.settings.destination import Destination, KindSettings
from worker.vendors.clevertap.account import CleverTapAccount
from worker.vendors.protocol import DELIVERED, Outcome, ResponseClass, UploadResult, Verdict

SETTINGS = Destination(name="main", account=CleverTapAccount(), kinds={"event": KindSettings(1000)})
NOW_MS = 1_700_000_000_000
FRESH = Attempt(size=3, attempt=0, first_claim_ms=NOW_MS, now_ms=NOW_MS)
DAY_MS = 86_400_000
AN_HOUR = replace(FRESH, first_claim_ms=NOW_MS - DAY_MS // 24)
OLD = replace(FRESH, first_claim_ms=NOW_MS - DAY_MS)
LAST = replace(FRESH, attempt=4)
ALONE = replace(FRESH, size=1)
REFUSED = Verdict(Outcome.DEAD, "refused", 513, "No.")
BUSY = Verdict(Outcome.RETRY, "server_error", 555, "Later.")
UNSURE = Verdict(Outcome.RETRY, "unconfirmed", None, "the response is inconclusive")
Fate = Literal["delivered", "dead", "retry", "split"]


@dataclass(frozen=True)
class Row:
    """An answer in a situation, and what is to become of the batch and the destination.

    ``fates`` is each record's outcome and reason, or "split".
    """

    what: str
    answer: UploadResult
    fates: list[tuple[Fate, str]] | Literal["split"]
    attempt: Attempt = FRESH
    settings: dict[str, Any] = field(default_factory=dict)
    counts: bool = False
    signal: str | None = "failure"
    ambiguous: int = 0
    parks: bool = False


def answered(*verdicts: Verdict) -> UploadResult:
    """An answer with these verdicts."""
    return UploadResult(ResponseClass.ANSWERED, verdicts, 200)


def failed(
    response_class: ResponseClass, status: int | None = None, wish_s: float | None = None
) -> UploadResult:
    """An answer for the whole request."""
    return UploadResult(response_class, (), status, "denied", wish_s)


ONCE = {"ambiguous": "dead_letter"}
TABLE = [
    Row("all delivered", answered(DELIVERED, DELIVERED, DELIVERED), [("delivered", "")] * 3,
        counts=True, signal="success"),
    Row("one of each", answered(DELIVERED, REFUSED, BUSY),
        [("delivered", ""), ("dead", "refused"), ("retry", "server_error")],
        counts=True, signal="success"),
    Row("none delivered", answered(REFUSED, REFUSED, REFUSED), [("dead", "refused")] * 3,
        counts=True, signal="success"),
    Row("the last try", answered(DELIVERED, BUSY, UNSURE),
        [("delivered", ""), ("dead", "server_error"), ("dead", "unconfirmed")],
        attempt=LAST, counts=True, signal="success"),
    Row("unsure of one", answered(DELIVERED, UNSURE, BUSY),
        [("delivered", ""), ("retry", "unconfirmed"), ("retry", "server_error")],
        counts=True, signal="success", ambiguous=1),
    Row("unsure of one, nothing twice", answered(DELIVERED, UNSURE, BUSY),
        [("delivered", ""), ("dead", "unconfirmed"), ("retry", "server_error")],
        settings=ONCE, counts=True, signal="success"),
    Row("garbled", failed(ResponseClass.GARBLED, 200), [("retry", "unconfirmed")] * 3,
        counts=True, ambiguous=3),
    Row("garbled once too often", failed(ResponseClass.GARBLED, 200), [("dead", "unconfirmed")] * 3,
        attempt=LAST, counts=True),
    Row("garbled, nothing twice", failed(ResponseClass.GARBLED, 200), [("dead", "unconfirmed")] * 3,
        settings=ONCE, counts=True),
    Row("refused", failed(ResponseClass.REFUSED, 400), "split", signal="success"),
    Row("refused alone", failed(ResponseClass.REFUSED, 400), [("dead", "refused")],
        attempt=ALONE, counts=True, signal="success"),
    Row("too large", failed(ResponseClass.TOO_LARGE, 413), "split", signal="success"),
    Row("too large alone", failed(ResponseClass.TOO_LARGE, 413), [("dead", "too_large")],
        attempt=ALONE, counts=True, signal="success"),
    Row("denied", failed(ResponseClass.DENIED, 401), [("retry", "denied")] * 3,
        signal=None, parks=True),
    Row("denied for a day", failed(ResponseClass.DENIED, 401), [("retry", "denied")] * 3,
        attempt=OLD, signal=None, parks=True),
    Row("throttled", failed(ResponseClass.THROTTLED, 429), [("retry", "throttled")] * 3,
        signal="throttled"),
    Row("throttled for a day", failed(ResponseClass.THROTTLED, 429), [("retry", "throttled")] * 3,
        attempt=OLD, signal="throttled"),
    Row("unavailable", failed(ResponseClass.UNAVAILABLE, 503), [("retry", "unavailable")] * 3),
    Row("unavailable at the last try", failed(ResponseClass.UNAVAILABLE, 503),
        [("retry", "unavailable")] * 3, attempt=LAST),
    Row("unavailable for a day", failed(ResponseClass.UNAVAILABLE, 503), [("dead", "expired")] * 3,
        attempt=OLD),
    Row("unavailable for an hour, alone", failed(ResponseClass.UNAVAILABLE, 503), "split",
        attempt=replace(AN_HOUR, isolated=True)),
    Row("unavailable for a day, alone", failed(ResponseClass.UNAVAILABLE, 503), "split",
        attempt=replace(OLD, isolated=True)),
    Row("unavailable for an hour, to all", failed(ResponseClass.UNAVAILABLE, 503),
        [("retry", "unavailable")] * 3, attempt=AN_HOUR),
    Row("unavailable for less, alone", failed(ResponseClass.UNAVAILABLE, 503),
        [("retry", "unavailable")] * 3, attempt=replace(FRESH, isolated=True)),
    Row("one record, unavailable for a day", failed(ResponseClass.UNAVAILABLE, 503),
        [("dead", "expired")], attempt=replace(OLD, isolated=True, size=1)),
    Row("unreachable for an hour, alone", failed(ResponseClass.UNREACHABLE),
        [("retry", "unreachable")] * 3, attempt=replace(AN_HOUR, isolated=True)),
    Row("ambiguous for an hour, alone", failed(ResponseClass.AMBIGUOUS),
        [("retry", "ambiguous")] * 3, attempt=replace(AN_HOUR, isolated=True), ambiguous=3),
    Row("unreachable", failed(ResponseClass.UNREACHABLE), [("retry", "unreachable")] * 3),
    Row("unreachable, nothing twice", failed(ResponseClass.UNREACHABLE),
        [("retry", "unreachable")] * 3, settings=ONCE),
    Row("unreachable for a day", failed(ResponseClass.UNREACHABLE), [("dead", "expired")] * 3,
        attempt=OLD),
    Row("ambiguous", failed(ResponseClass.AMBIGUOUS), [("retry", "ambiguous")] * 3, ambiguous=3),
    Row("ambiguous, nothing twice", failed(ResponseClass.AMBIGUOUS), [("dead", "ambiguous")] * 3,
        settings=ONCE),
    Row("ambiguous for a day", failed(ResponseClass.AMBIGUOUS), [("dead", "expired")] * 3,
        attempt=OLD),
]  # fmt: skip


def fates(decision: Decision, size: int) -> list[tuple[str, str]] | str:
    """What a decision makes of each record of a batch."""
    if isinstance(decision.action, Split):
        return "split"
    verdicts = [decision.action.usual] * size
    for position, verdict in decision.action.named:
        verdicts[position - 1] = verdict
    return [(verdict.outcome.value, verdict.reason) for verdict in verdicts]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.what)
def test_decide_follows_the_table(row: Row) -> None:
    """A response decides each record, whether an attempt is used, and the feedback."""
    decision = decide(row.answer, row.attempt, replace(SETTINGS, **row.settings), 0.5)
    assert fates(decision, row.attempt.size) == row.fates
    assert decision.signal == row.signal
    assert bool(decision.park) is row.parks
    if isinstance(decision.action, Settle):
        assert decision.action.counts_attempt is row.counts
        assert decision.action.ambiguous == row.ambiguous


def test_decision_table_has_a_row_for_each_response_class() -> None:
    """No response class is untested."""
    assert {row.answer.response_class for row in TABLE} == set(ResponseClass)


SITUATIONS = st.builds(
    Attempt,
    size=st.integers(1, 5),
    attempt=st.integers(0, 9),
    first_claim_ms=st.integers(NOW_MS - 2 * DAY_MS, NOW_MS + 1000),
    now_ms=st.just(NOW_MS),
)


@pytest.mark.parametrize("response_class", ResponseClass)
@given(
    situation=SITUATIONS,
    ambiguous=st.sampled_from(["retry", "dead_letter"]),
    random=st.floats(0, 1, exclude_max=True),
    wish_s=st.none() | st.floats(0, 86_400),
)
def test_decide_handles_any_response(
    response_class: ResponseClass,
    situation: Attempt,
    ambiguous: Literal["retry", "dead_letter"],
    random: float,
    wish_s: float | None,
) -> None:
    """Any response at any time causes no exception, no negative wait and no excess duplicates."""
    size = situation.size
    verdicts = [BUSY] * size if response_class is ResponseClass.ANSWERED else []
    answer = UploadResult(response_class, verdicts, 400, "denied", wish_s)
    decision = decide(answer, situation, replace(SETTINGS, ambiguous=ambiguous), random)
    assert decision.wait_ms >= 0
    if isinstance(decision.action, Settle):
        assert decision.action.delay_ms >= 0
        assert 0 <= decision.action.ambiguous <= size
    else:
        assert size > 1


@pytest.mark.parametrize("response_class", [ResponseClass.THROTTLED, ResponseClass.UNAVAILABLE])
def test_decide_with_retry_after_delays_the_destination(response_class: ResponseClass) -> None:
    """Retry-After applies to everything for the destination, not only to one batch."""
    assert decide(failed(response_class, 429, wish_s=7.5), FRESH, SETTINGS, 0.5).wait_ms == 7500


def test_decide_parking_reason_says_what_to_do() -> None:
    """The reason has the vendor's text, what to check, and that a probe will end it."""
    decision = decide(failed(ResponseClass.DENIED, 401), FRESH, SETTINGS, 0.5)
    assert decision.park == (
        "401: denied; check its credentials and address: a probe every 60 s will resume it"
    )


@pytest.mark.parametrize(("deaths", "size"), [(0, 1), (0, 1000), (2, 1000)])
def test_decide_unsent_below_max_deaths_sends_the_batch(deaths: int, size: int) -> None:
    """A batch that cost fewer workers than `max_deaths` is sent again."""
    assert decide_unsent(deaths, size, SETTINGS) is None


def test_decide_unsent_after_max_deaths_isolates_the_record_at_fault() -> None:
    """A batch that cost three workers is halved; a single record dies as poison."""
    halved, dead = decide_unsent(3, 2, SETTINGS), decide_unsent(3, 1, SETTINGS)
    assert halved == Decision(Split("3 workers died of this batch"))
    assert dead is not None
    assert isinstance(dead.action, Settle)
    assert (dead.action.usual.outcome, dead.action.usual.reason) == (Outcome.DEAD, "poison")
    assert not dead.action.counts_attempt


def test_decide_unsent_with_dead_letter_setting_buries_after_one_death() -> None:
    """If nothing may be sent twice, the batch of a dead worker is left to the operators."""
    once = replace(SETTINGS, ambiguous="dead_letter")
    assert decide_unsent(0, 5, once) is None
    decision = decide_unsent(1, 5, once)
    assert decision is not None
    assert isinstance(decision.action, Settle)
    assert (decision.action.usual.outcome, decision.action.usual.reason) == (
        Outcome.DEAD,
        "ambiguous",
    )


def test_hand_back_changes_nothing_but_the_lease() -> None:
    """A batch that is handed back is due immediately and has used no attempt."""
    assert isinstance(HAND_BACK.action, Settle)
    assert HAND_BACK.action.usual.outcome is Outcome.RETRY
    assert (HAND_BACK.action.delay_ms, HAND_BACK.action.counts_attempt) == (0, False)
    assert HAND_BACK.signal is None


@given(age_ms=st.integers(-10_000, 2 * DAY_MS), random=st.floats(0, 1, exclude_max=True))
def test_wait_by_age_ms_is_bounded(age_ms: int, random: float) -> None:
    """A failing batch waits at most its base, or a quarter of its age, or the cap."""
    attempt = replace(FRESH, first_claim_ms=NOW_MS - age_ms)
    delay_ms = wait_by_age_ms(attempt, SETTINGS, random)
    assert 0 <= delay_ms <= min(300_000, max(1000, age_ms / 4))


def identity_of(stored: bytes) -> bytes:
    """A record here is its identity's letter and a number."""
    return stored[:1]


@pytest.mark.parametrize(
    ("records", "named", "overtaken"),
    [
        ("a1 a2 b1", {1: BUSY}, [2]),
        ("a1 a2 b1", {2: BUSY}, []),
        ("a1 b1 a2 a3", {1: BUSY, 3: BUSY}, [4]),
        ("a1 b1 a2 a3", {1: BUSY, 3: REFUSED}, [4]),
        ("a1 a2", {1: REFUSED}, []),
        ("a1 b1 c1", {2: BUSY}, []),
        ("b1 a1 b2 a2", {1: BUSY, 2: REFUSED}, [3]),
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
        ("a1 a2 b1", {1: BUSY}, [1]),
        ("a1 a2 b1", {2: BUSY}, []),
        ("a1 b1 a2 a3", {1: BUSY, 4: BUSY}, [1]),
        ("a1 b1 a2 a3", {1: BUSY, 3: BUSY}, [1, 3]),
        ("a1 a2 b1", {1: BUSY, 2: REFUSED, 3: BUSY}, []),
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
    buried = Verdict(Outcome.DEAD, "overtaken", BUSY.code, BUSY.error)
    assert dict(kept.named) == {**named, **dict.fromkeys(dead, buried)}
    assert kept.ambiguous == 0


@pytest.mark.parametrize("usual", [BUSY, REFUSED])
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
            settle = Settle(DELIVERED, [(at, BUSY) for at in sorted(refused)])
            again = {at for at, _ in requeue_overtaken(settle, left, identity_of).named}
            left = [record for at, record in enumerate(left, 1) if at in again]
        assert taken == {identity_of(record): record for record in records}
