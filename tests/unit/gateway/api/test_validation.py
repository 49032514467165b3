"""The gateway's sieve: a request's records are checked in turns with what else there is to do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise

import pytest

from worker.errors import InvalidRecord
from worker.gateway.api.validation import FEW, TURN_S, RecordValidator
from worker.settings.destination import Destination, KindSettings
from worker.vendors.clevertap.account import CleverTapAccount
from worker.vendors.protocol import Prepared

MAIN = Destination(
    "main", CleverTapAccount(), {"event": KindSettings(1000), "profile": KindSettings(100)}
)


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now_s


def prepared(number: int) -> Prepared:
    """An event, or of every third number a profile."""
    kind = "event" if number % 3 else "profile"
    return Prepared(kind, b"%d" % number, b"", 1_700_000_000)


def slow(clock: Clock, begun: list[tuple[str, int]], name: str) -> Callable[[int], Prepared]:
    """Takes half a turn for each record, and notes whose it is."""

    def prepare(number: int) -> Prepared:
        clock.now_s += TURN_S / 2
        begun.append((name, number))
        return prepared(number)

    return prepare


def test_records_are_parted_by_kind_in_their_order() -> None:
    """Valid ones wait in a call for each kind, refused ones are told by position; None is none."""

    def prepare(number: int) -> Prepared | None:
        if number % 5 == 0:
            raise InvalidRecord({"record": ["is a multiple of five"]})
        return None if number == 7 else prepared(number)

    validated = asyncio.run(RecordValidator().validate(MAIN, range(10), prepare))
    bodies = {
        call.kind: [each[each.index(b"\n") + 1 :] for each in call.stored]
        for call in validated.calls
    }
    assert bodies == {"event": [b"1", b"2", b"4", b"8"], "profile": [b"3", b"6", b"9"]}
    assert [each.position for each in validated.rejections] == [0, 5]


@pytest.mark.parametrize("records", [FEW, 10 * FEW])
def test_others_are_served_while_many_records_are_checked(records: int) -> None:
    """Nobody waits for more than a turn, whether records are few and dear or many."""
    clock, begun = Clock(), list[tuple[str, int]]()

    async def talk() -> list[int]:
        validator = RecordValidator(clock)
        sifting = asyncio.create_task(
            validator.validate(MAIN, range(records), slow(clock, begun, "a"))
        )
        seen = [0]
        while not sifting.done():
            await asyncio.sleep(0)
            seen.append(len(begun))
        return seen

    seen = asyncio.run(talk())
    assert len(begun) == records
    assert max(after - before for before, after in pairwise(seen)) <= 3


def test_of_those_with_many_records_one_is_checked_at_a_time() -> None:
    """They wait for each other, in order; one with few records waits for none of them."""
    clock, begun = Clock(), list[tuple[str, int]]()

    async def talk() -> None:
        validator = RecordValidator(clock)
        await asyncio.gather(
            validator.validate(MAIN, range(FEW + 1), slow(clock, begun, "first")),
            validator.validate(MAIN, range(FEW + 1), slow(clock, begun, "second")),
            validator.validate(MAIN, range(1), slow(clock, begun, "few")),
        )

    asyncio.run(talk())
    request = [name for name, _ in begun]
    assert request.index("few") < FEW
    assert [name for name in request if name != "few"] == ["first"] * (FEW + 1) + ["second"] * (
        FEW + 1
    )
