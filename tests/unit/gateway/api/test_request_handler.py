"""Which destination an account means, and records validated in turns with other requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise

import pytest

from worker.errors import InvalidRecord
from worker.gateway.api.request_handler import FEW, TURN_S, RecordValidator, find_destination
from worker.settings.destination import Destination, KindSettings
from worker.vendors.clevertap.account import CleverTapAccount
from worker.vendors.protocol import Prepared

KINDS = {"event": KindSettings(1000)}


def destination(name: str, account_id: str = "") -> Destination:
    """A CleverTap destination."""
    return Destination(name, CleverTapAccount(account_id=account_id), KINDS)


ONE = [destination("main")]
KNOWN = [destination("main", "ACC-1")]
TWO = [destination("eu", "ACC-1"), destination("in")]


@pytest.mark.parametrize(
    ("destinations", "name", "found"),
    [
        (ONE, "anything", "main"),
        (KNOWN, "ACC-1", "main"),
        (KNOWN, "main", "main"),
        (KNOWN, "ACC-2", None),
        (KNOWN, "", None),
        (TWO, "ACC-1", "eu"),
        (TWO, "in", "in"),
        (TWO, "ACC-2", None),
        (TWO, "", None),
        ([], "main", None),
    ],
)
def test_find_destination_given_an_account_or_name_returns_its_destination(
    destinations: list[Destination], name: str, found: str | None
) -> None:
    """A destination is found by name or account; any name works only if nothing can be mixed up."""
    meant = find_destination(destinations, name)
    assert (meant.name if meant else None) == found


MAIN = Destination(
    "main", CleverTapAccount(), {"event": KindSettings(1000), "profile": KindSettings(100)}
)


class Clock:
    """A clock that a test advances."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


def prepared(number: int) -> Prepared:
    """Return an event, or for every third number a profile."""
    kind = "event" if number % 3 else "profile"
    return Prepared(kind, b"%d" % number, b"", 1_700_000_000)


def slow(clock: Clock, started: list[tuple[str, int]], name: str) -> Callable[[int], Prepared]:
    """Return a function that takes half a turn per record, and notes the caller."""

    def prepare(number: int) -> Prepared:
        clock.now_s += TURN_S / 2
        started.append((name, number))
        return prepared(number)

    return prepare


def test_validate_groups_valid_records_by_kind_in_order() -> None:
    """Rejected records are reported by position, and a record without a result is skipped."""

    def prepare(number: int) -> Prepared | None:
        if number % 5 == 0:
            raise InvalidRecord({"record": ["is a multiple of five"]})
        return None if number == 7 else prepared(number)

    batches, rejections = asyncio.run(RecordValidator().validate(MAIN, range(10), prepare))
    bodies = {
        batch.kind: [each[each.index(b"\n") + 1 :] for each in batch.stored] for batch in batches
    }
    assert bodies == {"event": [b"1", b"2", b"4", b"8"], "profile": [b"3", b"6", b"9"]}
    assert [each.position for each in rejections] == [0, 5]


@pytest.mark.parametrize("records", [FEW, 10 * FEW])
def test_validate_of_slow_records_lets_other_tasks_run_every_turn(records: int) -> None:
    """No task waits for more than a turn, whether records are few and slow or many."""
    clock, started = Clock(), list[tuple[str, int]]()

    async def talk() -> list[int]:
        validator = RecordValidator(clock)
        validating = asyncio.create_task(
            validator.validate(MAIN, range(records), slow(clock, started, "a"))
        )
        seen = [0]
        while not validating.done():
            await asyncio.sleep(0)
            seen.append(len(started))
        return seen

    seen = asyncio.run(talk())
    assert len(started) == records
    assert max(after - before for before, after in pairwise(seen)) <= 3


def test_validate_of_large_requests_runs_one_at_a_time() -> None:
    """Large requests wait for each other, in order; a small one waits for none of them."""
    clock, started = Clock(), list[tuple[str, int]]()

    async def talk() -> None:
        validator = RecordValidator(clock)
        await asyncio.gather(
            validator.validate(MAIN, range(FEW + 1), slow(clock, started, "first")),
            validator.validate(MAIN, range(FEW + 1), slow(clock, started, "second")),
            validator.validate(MAIN, range(1), slow(clock, started, "few")),
        )

    asyncio.run(talk())
    request = [name for name, _ in started]
    assert request.index("few") < FEW
    assert [name for name in request if name != "few"] == ["first"] * (FEW + 1) + ["second"] * (
        FEW + 1
    )
