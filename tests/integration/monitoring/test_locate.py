"""Where a record is: told right in every place, and however the ids of a place are ordered."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from typing import Any

import pytest
import redis

from support.stored import stored
from worker.buffer import keys
from worker.buffer.buffer import Buffer
from worker.buffer.claims import Claim, Settle
from worker.buffer.records import pack
from worker.dead_letters.letters import DeadLetter, DeadLetters
from worker.dead_letters.replay import Replayer
from worker.monitoring.locate import Buffered, DeliveredRecord, InFlight, RecordLocator
from worker.settings.destination import Destination, KindSettings
from worker.vendors.clevertap.account import CleverTapAccount
from worker.vendors.protocol import DELIVERED, Kind, Outcome, Prepared, Verdict

SETTINGS = Destination(
    name="traced",
    account=CleverTapAccount(),
    kinds={Kind.EVENT: KindSettings(10), Kind.PROFILE: KindSettings(10, partitions=4)},
    max_wait_s=0.0,
    flood_window=10**9,
)
REFUSED = Verdict(Outcome.DEAD, "refused", 513, "Trying to raise a restricted system event.")
BUSY = Verdict(Outcome.RETRY, "unavailable", 503, "HTTP 503")


class Desk:
    """A destination, and somebody who looks for its records."""

    def __init__(self, client: redis.Redis) -> None:
        self.client: Any = client
        self.buffer = Buffer(client, SETTINGS)
        self.tracer = RecordLocator(client, SETTINGS)

    def accept(self, number: int, kind: str = Kind.EVENT) -> list[str]:
        """Take so many records; returns their ids."""
        packed, identities = [], []
        for at in range(number):
            identities.append(f"identity:i{at}".encode())
            name = "Viewed" if kind == Kind.EVENT else ""
            body = b'{"identity":"i%d","type":"%s"}' % (at, kind.encode())
            packed.append(
                stored(Prepared(kind, body, identities[-1], 1_700_000_000, name), SETTINGS)
            )
        self.buffer.accept(kind, identities, packed)
        return [each[:32].decode() for each in packed]

    def claim(self, *, begun: bool = True) -> Claim:
        """Claim what is ready."""
        claim = self.buffer.claim(begun=begun)
        assert claim is not None
        return claim

    def settle(self, settle: Settle) -> Claim:
        """Claim what is ready, and settle it."""
        claim = self.claim()
        assert self.buffer.settle(claim, settle, str(settle.usual.code or 200)) is not None
        return claim


@pytest.fixture
def desk(redis_client: redis.Redis) -> Desk:
    """A destination without a record."""
    return Desk(redis_client)


def test_a_buffered_record_has_a_position(desk: Desk) -> None:
    """The position is what lies before it in its partition, the next to be claimed being 1."""
    ids = desk.accept(100)
    for at, record_id in enumerate(ids, 1):
        assert desk.tracer.find(record_id) == Buffered("traced", Kind.EVENT, 0, at)
    desk.claim()
    assert desk.tracer.find(ids[10]) == Buffered("traced", Kind.EVENT, 0, 1)


def test_an_updates_partition_is_told(desk: Desk) -> None:
    """Of an ordered kind, each partition is looked at; those of an older layout too."""
    before = desk.accept(20, Kind.PROFILE)
    kinds = {**SETTINGS.kinds, Kind.PROFILE: KindSettings(10, partitions=2)}
    Buffer(desk.client, replace(SETTINGS, kinds=kinds)).repartition()
    after = desk.accept(20, Kind.PROFILE)
    for ids, partitions in ((before, range(4)), (after, range(4, 6))):
        for record_id in ids:
            found = desk.tracer.find(record_id)
            assert isinstance(found, Buffered)
            assert found.partition in partitions
            pending = keys.pending("traced", Kind.PROFILE, found.partition)
            there = desk.client.lindex(pending, found.position - 1)
            assert there.startswith(record_id.encode())


def test_long_lists_are_searched_where_the_id_belongs(
    desk: Desk, rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Among many sorted records one is found in a single look, without reading the others."""
    monkeypatch.setattr("worker.monitoring.locate.LOOK", 10)
    monkeypatch.setattr(RecordLocator, "_anywhere", None)  # would fail if it were called
    ids = [record_id for _ in range(20) for record_id in desk.accept(500)]
    for position in (1, 10_000, *rng.choices(range(1, 10_001), k=30)):
        found = desk.tracer.find(ids[position - 1])
        assert found == Buffered("traced", Kind.EVENT, 0, position)


def test_lists_out_of_order_are_searched_whole(
    desk: Desk, rng: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replays and clocks put ids anywhere: each is found all the same."""
    monkeypatch.setattr("worker.monitoring.locate.LOOK", 7)
    ids = desk.accept(300)
    pending = keys.pending("traced", Kind.EVENT)
    packed = desk.client.lrange(pending, 0, -1)
    rng.shuffle(packed)
    desk.client.delete(pending)
    desk.client.rpush(pending, *packed)
    for record_id in ids:
        found = desk.tracer.find(record_id)
        assert isinstance(found, Buffered)
        assert packed[found.position - 1].startswith(record_id.encode())


def test_a_batch_in_flight_and_one_that_waits(desk: Desk) -> None:
    """The batch is named, with its attempts, its last answer, and when its time comes."""
    ids = desk.accept(20)
    claim = desk.claim()
    now_ms = int(time.time() * 1000)
    found = desk.tracer.find(ids[9])
    assert isinstance(found, InFlight)
    assert (found.in_flight, found.batch, found.attempts, found.error) == (True, claim.batch, 0, "")
    assert now_ms < found.due_ms <= now_ms + 91_000
    waiting = desk.settle(Settle(BUSY, delay_ms=60_000))
    later_ms = int(time.time() * 1000)
    found = desk.tracer.find(ids[10])
    assert isinstance(found, InFlight)
    assert (found.in_flight, found.batch, found.attempts) == (False, waiting.batch, 1)
    assert found.error == "HTTP 503"
    assert now_ms + 50_000 < found.due_ms <= later_ms + 61_000


def test_the_dead_and_the_delivered(desk: Desk) -> None:
    """A dead letter tells why it died; a delivery its batch, its time and the answer."""
    ids = desk.accept(10)
    claim = desk.settle(Settle(DELIVERED, [(3, REFUSED)]))
    dead = desk.tracer.find(ids[2])
    assert isinstance(dead, DeadLetter)
    assert (dead.code, dead.error, dead.attempts) == (513, REFUSED.error, 1)
    delivered = desk.tracer.find(ids[3])
    assert isinstance(delivered, DeliveredRecord)
    assert (delivered.batch, delivered.kind, delivered.answer) == (claim.batch, Kind.EVENT, "200")
    assert abs(delivered.at_ms - time.time() * 1000) < 60_000


def test_a_replayed_record_is_found_at_the_end(desk: Desk) -> None:
    """Its id is older than all around it."""
    (old,) = desk.accept(1)
    desk.settle(Settle(REFUSED))
    desk.accept(5_000)
    selection = DeadLetters(desk.client, SETTINGS).select()
    assert Replayer(desk.client, SETTINGS).replay(selection, lambda _: None) == 1
    assert desk.tracer.find(old) == Buffered("traced", Kind.EVENT, 0, 5_001)


def test_what_is_gone_is_unknown(desk: Desk) -> None:
    """A purged record, one that was never accepted, one delivered before the journal begins."""
    (purged,) = desk.accept(1)
    desk.settle(Settle(REFUSED))
    DeadLetters(desk.client, SETTINGS).select().purge()
    (delivered,) = desk.accept(1)
    desk.settle(Settle(DELIVERED))
    assert isinstance(desk.tracer.find(delivered), DeliveredRecord)
    desk.client.xtrim(keys.journal("traced"), maxlen=0)
    for record_id in (purged, delivered, "0" * 32, "f" * 32):
        assert desk.tracer.find(record_id) is None


def test_ids_that_only_look_alike_are_told_apart(desk: Desk) -> None:
    """Bytes of two neighbouring ids in the journal are no id; other people's ids are not theirs."""
    (first, second) = desk.accept(2)
    desk.settle(Settle(DELIVERED))
    across = first[16:] + second[:16]
    assert desk.tracer.find(across) is None
    assert isinstance(desk.tracer.find(first), DeliveredRecord)
    assert isinstance(desk.tracer.find(second), DeliveredRecord)


def test_a_delivery_before_acceptance_is_found(desk: Desk) -> None:
    """A producer whose clock is a day ahead makes ids that lie after their delivery."""
    ahead = f"{int(time.time() * 1000) + 86_400_000:012x}70008000000000000000"
    desk.buffer.accept(Kind.EVENT, [b"identity:i"], [pack(ahead, "20231114", "Viewed", b"{}")])
    desk.settle(Settle(DELIVERED))
    assert isinstance(desk.tracer.find(ahead), DeliveredRecord)


def test_a_journal_of_many_settlements_is_searched_whole(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal is read in stretches, the youngest first, and none is left out."""
    monkeypatch.setattr("worker.monitoring.locate.SETTLEMENTS", 3)
    ids = desk.accept(100)
    batches = [desk.settle(Settle(DELIVERED)).batch for _ in range(10)]
    for at, record_id in enumerate(ids):
        found = desk.tracer.find(record_id)
        assert isinstance(found, DeliveredRecord)
        assert found.batch == batches[at // 10]


def test_a_record_that_moves_behind_the_search_is_found_in_the_next_round(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replay between two looks puts a dead letter where was looked already."""
    (moving,) = desk.accept(1)
    desk.settle(Settle(REFUSED))
    selection = DeadLetters(desk.client, SETTINGS).select()
    look = RecordLocator._on_its_way
    moved: list[int] = []

    def late(self: RecordLocator, record_id: str) -> InFlight | None:
        if not moved:
            moved.append(Replayer(desk.client, SETTINGS).replay(selection, lambda _: None))
        return look(self, record_id)

    monkeypatch.setattr(RecordLocator, "_on_its_way", late)
    assert isinstance(desk.tracer.find(moving), Buffered)
    assert moved == [1]


def test_a_record_is_found_in_a_full_redis(desk: Desk, redis_client: redis.Redis) -> None:
    """To look needs no memory."""
    (record_id,) = desk.accept(1)
    desk.claim()
    redis_client.config_set("maxmemory", 1)
    try:
        assert isinstance(desk.tracer.find(record_id), InFlight)
    finally:
        redis_client.config_set("maxmemory", 0)
