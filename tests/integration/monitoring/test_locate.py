"""Where a record is, in every place, and however the ids of a place are ordered."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from typing import Any

import pytest
import redis

from support.stored import put, stored
from worker.buffer import keys
from worker.buffer.buffer import Buffer
from worker.buffer.claims import Claim, Settle
from worker.buffer.records import pack
from worker.dead_letters.letters import DeadLetters, epoch_ms
from worker.dead_letters.replay import Replayer
from worker.monitoring.locate import Location, RecordLocator
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


class Records:
    """A destination, and the locator of its records."""

    def __init__(self, client: redis.Redis) -> None:
        self.client: Any = client
        self.buffer = Buffer(client, SETTINGS)
        self.locator = RecordLocator(client, SETTINGS)

    def accept(self, number: int, kind: str = Kind.EVENT) -> list[str]:
        """Accept this many records; return their ids."""
        packed, identities = [], []
        for at in range(number):
            identities.append(f"identity:i{at}".encode())
            name = "Viewed" if kind == Kind.EVENT else ""
            body = b'{"identity":"i%d","type":"%s"}' % (at, kind.encode())
            packed.append(
                stored(Prepared(kind, body, identities[-1], 1_700_000_000, name), SETTINGS)
            )
        put(self.buffer, kind, identities, packed)
        return [each[:32].decode() for each in packed]

    def claim(self, *, begun: bool = True) -> Claim:
        """Claim what is ready."""
        claim = self.buffer.claim(begun=begun)
        assert claim is not None
        return claim

    def find(self, record_id: str, *places: str) -> Location:
        """Find a record, which must be in one of these places."""
        found = self.locator.find(record_id)
        assert found is not None
        assert found.destination == "traced"
        assert found.place in places
        return found

    def settle(self, settle: Settle) -> Claim:
        """Claim what is ready, and settle it."""
        claim = self.claim()
        assert self.buffer.finish(claim, settle, str(settle.usual.code or 200)).settled is not None
        return claim


def buffered(position: int) -> Location:
    """Return the place of a buffered event."""
    details = {"partition": 0, "position": position}
    return Location("traced", Kind.EVENT, "buffered", details)


@pytest.fixture
def records(redis_client: redis.Redis) -> Records:
    """A destination without a record."""
    return Records(redis_client)


def test_find_returns_the_position_of_a_buffered_record(records: Records) -> None:
    """The position is what lies before it in its partition, the next to be claimed being 1."""
    ids = records.accept(100)
    for at, record_id in enumerate(ids, 1):
        assert records.locator.find(record_id) == buffered(at)
    records.claim()
    assert records.locator.find(ids[10]) == buffered(1)


def test_find_searches_every_partition(records: Records) -> None:
    """Of an ordered kind, those of an older layout too."""
    before = records.accept(20, Kind.PROFILE)
    kinds = {**SETTINGS.kinds, Kind.PROFILE: KindSettings(10, partitions=2)}
    Buffer(records.client, replace(SETTINGS, kinds=kinds)).repartition()
    after = records.accept(20, Kind.PROFILE)
    for ids, partitions in ((before, range(4)), (after, range(4, 6))):
        for record_id in ids:
            found = records.find(record_id, "buffered").details
            assert found["partition"] in partitions
            pending = keys.pending("traced", Kind.PROFILE, found["partition"])
            there = records.client.lindex(pending, found["position"] - 1)
            assert there.startswith(record_id.encode())


def test_find_in_a_sorted_list_reads_one_page(records: Records, rng: random.Random) -> None:
    """Among many sorted records one is found in a single call, without reading the others."""
    records.locator.page_records = 10
    ids = [record_id for _ in range(20) for record_id in records.accept(500)]
    assert records.locator.find(ids[0])  # Redis knows the script now
    records.client.config_resetstat()
    for position in (1, 10_000, *rng.choices(range(1, 10_001), k=30)):
        found = records.locator.find(ids[position - 1])
        assert found == buffered(position)
    assert records.client.info("commandstats")["cmdstat_evalsha"]["calls"] == 32


def test_find_in_an_unsorted_list_searches_all_of_it(records: Records, rng: random.Random) -> None:
    """Replays and clocks put ids anywhere: each is found all the same."""
    records.locator.page_records = 7
    ids = records.accept(300)
    pending = keys.pending("traced", Kind.EVENT)
    packed = records.client.lrange(pending, 0, -1)
    rng.shuffle(packed)
    records.client.delete(pending)
    records.client.rpush(pending, *packed)
    for record_id in ids:
        position = records.find(record_id, "buffered").details["position"]
        assert packed[position - 1].startswith(record_id.encode())


def test_find_describes_a_batch_in_flight_and_one_that_waits(records: Records) -> None:
    """The batch is named, with its attempts, its last answer, and when its time comes."""
    ids = records.accept(20)
    claim = records.claim()
    now_ms = int(time.time() * 1000)
    found = dict(records.find(ids[9], "in_flight").details)
    assert now_ms < epoch_ms(found.pop("lease_ends_at")) <= now_ms + 91_000
    assert found == {"batch": claim.batch, "attempts": 0, "worker_deaths": 0, "last_answer": None}
    waiting = records.settle(Settle(BUSY, delay_ms=60_000))
    later_ms = int(time.time() * 1000)
    found = dict(records.find(ids[10], "retrying").details)
    assert now_ms + 50_000 < epoch_ms(found["due_at"]) <= later_ms + 61_000
    assert (found["batch"], found["attempts"]) == (waiting.batch, 1)
    assert found["last_answer"] == "HTTP 503"


def test_find_describes_a_dead_letter_and_a_delivery(records: Records) -> None:
    """A dead letter has its reason; a delivery its batch, its time and the answer."""
    ids = records.accept(10)
    claim = records.settle(Settle(DELIVERED, [(3, REFUSED)]))
    dead = records.find(ids[2], "dead").details
    assert (dead["code"], dead["error"], dead["attempts"]) == (513, REFUSED.error, 1)
    delivered = records.find(ids[3], "delivered")
    assert delivered.kind == Kind.EVENT
    assert (delivered.details["batch"], delivered.details["answer"]) == (claim.batch, "200")
    assert abs(epoch_ms(delivered.details["delivered_at"]) - time.time() * 1000) < 60_000


def test_find_of_a_replayed_record_searches_to_the_end(records: Records) -> None:
    """Its id is older than all around it."""
    (old,) = records.accept(1)
    records.settle(Settle(REFUSED))
    records.accept(5_000)
    selection = DeadLetters(records.client, SETTINGS).select()
    assert Replayer(records.client, SETTINGS).replay(selection, lambda _: None) == 1
    assert records.locator.find(old) == buffered(5_001)


def test_find_of_a_record_that_is_gone_returns_none(records: Records) -> None:
    """A purged record, one that was never accepted, one delivered before the journal begins."""
    (purged,) = records.accept(1)
    records.settle(Settle(REFUSED))
    DeadLetters(records.client, SETTINGS).select().purge()
    (delivered,) = records.accept(1)
    records.settle(Settle(DELIVERED))
    records.find(delivered, "delivered")
    records.client.xtrim(keys.journal("traced"), maxlen=0)
    for record_id in (purged, delivered, "0" * 32, "f" * 32):
        assert records.locator.find(record_id) is None


def test_find_matches_whole_ids(records: Records) -> None:
    """Bytes of two neighbouring ids in the journal are not an id."""
    (first, second) = records.accept(2)
    records.settle(Settle(DELIVERED))
    across = first[16:] + second[:16]
    assert records.locator.find(across) is None
    records.find(first, "delivered")
    records.find(second, "delivered")


def test_find_of_a_delivery_before_acceptance_returns_it(records: Records) -> None:
    """A producer with a clock that is a day ahead makes ids that lie after their delivery."""
    ahead = f"{int(time.time() * 1000) + 86_400_000:012x}70008000000000000000"
    put(records.buffer, Kind.EVENT, [b"identity:i"], [pack(ahead, "20231114", "Viewed", b"{}")])
    records.settle(Settle(DELIVERED))
    records.find(ahead, "delivered")


def test_find_searches_the_whole_journal(records: Records) -> None:
    """The journal is read in pages, the youngest first, and none is left out."""
    records.locator.page_settlements = 3
    ids = records.accept(100)
    batches = [records.settle(Settle(DELIVERED)).batch for _ in range(10)]
    for at, record_id in enumerate(ids):
        found = records.find(record_id, "delivered")
        assert found.details["batch"] == batches[at // 10]


def test_find_of_a_record_that_moves_behind_the_search_searches_again(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replay between two reads moves a dead letter to where the search has been."""
    (moving,) = records.accept(1)
    records.settle(Settle(REFUSED))
    selection = DeadLetters(records.client, SETTINGS).select()
    list_batches = records.client.hkeys  # read after the buffered records, before the dead letters
    moved: list[int] = []

    def list_late(key: str) -> Any:
        if not moved:
            moved.append(Replayer(records.client, SETTINGS).replay(selection, lambda _: None))
        return list_batches(key)

    monkeypatch.setattr(records.client, "hkeys", list_late)
    records.find(moving, "buffered")
    assert moved == [1]


def test_find_in_a_full_redis_returns_the_record(
    records: Records, redis_client: redis.Redis
) -> None:
    """The search needs no memory."""
    (record_id,) = records.accept(1)
    records.claim()
    redis_client.config_set("maxmemory", 1)
    try:
        records.find(record_id, "in_flight")
    finally:
        redis_client.config_set("maxmemory", 0)
