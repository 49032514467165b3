"""Any order of operations on a real Redis: each record stays in one place, and in its order.

A model says what was accepted, delivered, died and was thrown away, and in which line each
identity's updates stand; after every step Redis is read as a whole and compared with it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import pytest
import redis
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from support.stored import put
from worker.buffer import keys
from worker.buffer.accept import identity_hash
from worker.buffer.buffer import Buffer
from worker.buffer.claims import Claim, Settle, Split
from worker.buffer.records import new_id, pack, stored_body
from worker.dead_letters.letters import DeadLetter, DeadLetters, LetterFilter
from worker.dead_letters.replay import Replacement, Replayer
from worker.monitoring.locate import RecordLocator
from worker.settings.destination import Destination, KindSettings
from worker.vendors.clevertap.account import CleverTapAccount
from worker.vendors.protocol import DELIVERED, Kind, Outcome, Verdict

NAME = "machine"
# Small batches, so that a few records make several; no flood breaker, which has its own tests.
SETTINGS = Destination(
    name=NAME,
    account=CleverTapAccount(),
    kinds={Kind.EVENT: KindSettings(5), Kind.PROFILE: KindSettings(4, partitions=3)},
    max_wait_s=0.0,
    concurrency=6,
    concurrency_limit=6,
    flood_window=10**9,
)
DEAD = Verdict(Outcome.DEAD, "refused", 515, "Email is not valid.")
AGAIN = Verdict(Outcome.RETRY, "server_error", 555, "Miscellaneous error")
OUTCOMES = [DELIVERED, DEAD, AGAIN]
PEOPLE = ["ann", "bob", "cid", "dot", "eve"]
STEPS = 1000
VERDICTS = st.lists(st.sampled_from(OUTCOMES), min_size=1, max_size=8)
WHO = st.sampled_from(PEOPLE)
HASTE = st.sampled_from([False, False, True])  # whether the lease ends at once
PICK = st.integers(min_value=0, max_value=10**6)


def record_of(kind: str, who: str, number: int) -> dict[str, Any]:
    """A record in the vendor's shape, unlike every other."""
    if kind == Kind.EVENT:
        data = {"evtName": "Viewed", "evtData": {"Number": number}}
    else:
        data = {"profileData": {"Number": number}}
    return {"identity": who, "type": kind, "ts": 1_700_000_000, **data}


@dataclass
class Model:
    """What became of each record, by its id; ``lines`` are the ordered ones of each identity."""

    accepted: dict[str, str] = field(default_factory=dict)  # kind
    delivered: set[str] = field(default_factory=set)
    purged: set[str] = field(default_factory=set)
    bodies: dict[str, bytes] = field(default_factory=dict)
    who: dict[str, str] = field(default_factory=dict)
    lines: dict[str, list[str]] = field(default_factory=dict)
    replayed: int = 0

    def enter(self, kind: str, who: str, record_id: str) -> None:
        """The record stands at the end of its identity's line."""
        self.who[record_id] = who
        if kind == Kind.PROFILE:
            self.lines.setdefault(who, []).append(record_id)

    def leave(self, kind: str, record_id: str) -> None:
        """The record stands in line no more: it was delivered, or it died."""
        if kind == Kind.PROFILE:
            self.lines[self.who[record_id]].remove(record_id)


class BufferMachine(RuleBasedStateMachine):
    """Workers, drains, producers and an operator, all doing what they can at any moment."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__()
        self.client: Any = client
        self.client.flushdb()
        self.model = Model()
        self.claims: list[Claim] = []  # what workers hold, stale claims included
        self.numbers = iter(range(10**9))
        self.promises_order = True
        self.configure(SETTINGS)

    def configure(self, destination: Destination) -> None:
        """Let everybody work with these settings from now on."""
        self.destination = destination
        self.buffer = Buffer(self.client, destination)
        self.hasty = Buffer(self.client, replace(destination, lease_s=0.0))  # leases end at once
        self.letters = DeadLetters(self.client, destination)
        self.replays = Replayer(self.client, destination)

    # What happens

    @rule(
        kind=st.sampled_from([Kind.EVENT, Kind.PROFILE]),
        people=st.lists(WHO, min_size=1, max_size=9),
    )
    def accept(self, kind: str, people: list[str]) -> None:
        """A producer sends records."""
        stored = []
        for who in people:
            record_id = new_id()
            body = orjson.dumps(record_of(kind, who, next(self.numbers)))
            stored.append(pack(record_id, "20231114", "Viewed" if kind == Kind.EVENT else "", body))
            self.model.accepted[record_id], self.model.bodies[record_id] = kind, body
            self.model.enter(kind, who, record_id)
        put(self.buffer, kind, [f"identity:{who}".encode() for who in people], stored)

    @initialize(people=st.lists(WHO, min_size=8, max_size=20))
    def begin_with_updates(self, people: list[str]) -> None:
        """Something is there from the beginning: an empty buffer has little to get wrong."""
        self.accept(Kind.PROFILE, people)

    @rule(begun=st.booleans(), hasty=HASTE)
    def claim(self, begun: bool, hasty: bool) -> None:
        """A drain, or a worker that goes on, claims."""
        claim = (self.hasty if hasty else self.buffer).claim(begun=begun)
        if claim is not None:
            self.hold(claim)

    @rule(verdicts=st.lists(VERDICTS, min_size=1, max_size=4))
    def deliver(self, verdicts: list[list[Verdict]]) -> None:
        """A worker claims, sends and settles, once and again."""
        for each in verdicts:
            claim = self.buffer.claim(begun=True)
            if claim is None:
                return
            self.hold(claim)
            self.settle_claim(claim, [each[at % len(each)] for at in range(claim.size)])

    def _split(self, claim: Claim) -> bool:
        return self.buffer.finish(claim, Split("400: no"), "400").settled is not None

    @rule()
    def isolate(self) -> None:
        """A worker claims, is refused the whole, and halves it."""
        claim = self.buffer.claim(begun=True)
        if claim is not None:
            self.hold(claim)
            assert self._split(claim) == (claim.size > 1)

    @precondition(lambda self: self.claims)
    @rule(pick=PICK, hasty=HASTE)
    def begin(self, pick: int, hasty: bool) -> None:
        """A worker takes up a message of a drain, however old."""
        claim = self.a_claim(pick)
        begun = (self.hasty if hasty else self.buffer).begin(claim.batch, claim.token)
        if begun is not None:
            assert claim.begun_ms == 0, "a claim is begun once"
            self.hold(begun)

    @precondition(lambda self: self.claims)
    @rule(pick=PICK, verdicts=VERDICTS)
    def settle(self, pick: int, verdicts: list[Verdict]) -> None:
        """A worker settles what it holds, or thinks it holds; then a second time."""
        claim = self.a_claim(pick)
        each = [verdicts[at % len(verdicts)] for at in range(claim.size)]
        self.settle_claim(claim, each)
        assert self.buffer.finish(claim, Settle(DELIVERED), "200").settled is None, "settled twice"

    @precondition(lambda self: self.claims)
    @rule(pick=PICK)
    def split(self, pick: int) -> None:
        """A worker halves what it holds, or thinks it holds."""
        claim = self.a_claim(pick)
        owns = self.owns(claim)
        assert self._split(claim) == (owns and claim.size > 1)

    @rule(unbegun=st.booleans())
    def recover(self, unbegun: bool) -> None:
        """A drain ticks, or a worker stops."""
        self.buffer.recover(unbegun=unbegun)

    @rule()
    def time_passes(self) -> None:
        """Every lease runs out; the drain that comes next, or a worker, finds it so."""
        self.client.zunionstore(keys.leases(NAME), {keys.leases(NAME): 0})

    @rule(kind=st.sampled_from([None, Kind.EVENT, Kind.PROFILE]), keep=st.sampled_from([0, 0, 1]))
    def replay(self, kind: str | None, keep: int) -> None:
        """An operator replays dead letters, but for a few."""
        selection = self.letters.select(LetterFilter(kind=kind))
        letters = list(selection)
        without = {letter.id for letter in letters[:keep]}
        self.note_replayed([letter for letter in letters if letter.id not in without])
        replayed = self.replays.replay(selection, self.never, without=without)
        assert replayed == len(letters) - len(without)

    @rule(whom=WHO, pick=PICK)
    def edit(self, whom: str, pick: int) -> None:
        """An operator replays a dead letter as another record, maybe of another person."""
        letters = list(self.letters.select())
        if letters:
            letter = letters[pick % len(letters)]
            record = record_of(letter.kind, whom, next(self.numbers))
            edited = Replacement(1, letter.id, record, letter.failed_at_ms)
            assert self.replays.replay_edited([edited], self.never) == 1
            self.model.bodies[letter.id] = orjson.dumps(record)
            self.model.who[letter.id] = whom
            self.note_replayed([letter])

    @rule(kind=st.sampled_from([Kind.EVENT, Kind.PROFILE]), odd=st.booleans())
    def purge(self, kind: str, odd: bool) -> None:
        """An operator throws dead letters away."""
        selection = self.letters.select(LetterFilter(kind=kind, code="515" if odd else None))
        ids = {letter.id for letter in selection}
        assert selection.purge() == len(ids)
        self.model.purged |= ids

    @rule(partitions=st.integers(1, 5))
    def repartition(self, partitions: int) -> None:
        """The number of partitions is changed, and the workers start again."""
        kinds = {**SETTINGS.kinds, Kind.PROFILE: KindSettings(4, partitions=partitions)}
        self.configure(replace(SETTINGS, kinds=kinds))
        self.buffer.repartition()

    def disorder(self) -> None:
        """The kind's order is given up by its settings: what was promised before is no more."""
        self.promises_order = False
        self.configure(replace(SETTINGS, kinds={**SETTINGS.kinds, Kind.PROFILE: KindSettings(4)}))
        self.buffer.repartition()

    @precondition(lambda self: self.claims)
    @rule(pick=PICK)
    def pause(self, pick: int) -> None:
        """An operator stops deliveries, a worker takes up a message, and they start again."""
        claim = self.a_claim(pick)
        self.buffer.pause("a test says so")
        assert self.buffer.claim(begun=True) is None
        assert self.buffer.begin(claim.batch, claim.token) is None
        self.buffer.resume()

    @precondition(lambda self: self.model.accepted)
    @rule(pick=PICK)
    def trace(self, pick: int) -> None:
        """An operator asks where a record is."""
        ids = list(self.model.accepted)
        record_id = ids[pick % len(ids)]
        found = RecordLocator(self.client, self.destination).find(record_id)
        expected = {
            "pending": ("buffered",),
            "batch": ("in_flight", "retrying"),
            "dead": ("dead",),
            "delivered": ("delivered",),
            "purged": (None,),
        }[dict(self.places())[record_id].partition(":")[0]]
        assert (found and found.place) in expected, (record_id, found)

    # What must hold, whatever happens

    @invariant()
    def each_record_is_in_one_place(self) -> None:
        """Every accepted record is somewhere, none twice, and nothing else is anywhere."""
        everywhere = Counter(record_id for record_id, _ in self.places())
        assert everywhere == dict.fromkeys(self.model.accepted, 1)

    @invariant()
    def the_counts_add_up(self) -> None:
        """The status matches the stored records."""
        kinds = self.model.accepted
        there = Counter((kinds[each], place.partition(":")[0]) for each, place in self.places())
        status = self.buffer.status()
        pending = 0
        for kind, places in status.kinds.items():
            assert places.adds_up, (kind, places)
            assert places.buffered == there[kind, "pending"]
            assert places.in_flight + places.retrying == there[kind, "batch"]
            assert places.dead == there[kind, "dead"]
            assert places.totals["delivered"] == there[kind, "delivered"]
            assert places.totals["purged"] == there[kind, "purged"]
            pending += places.buffered
        assert sum(each.totals["replayed"] for each in status.kinds.values()) == self.model.replayed
        assert int(self.client.hget(keys.state(NAME), "buffered") or 0) == pending

    @invariant()
    def bodies_are_never_touched(self) -> None:
        """The bytes to send are those that were accepted, or those that an operator edited."""
        for record_id, body in self.stored():
            assert body == self.model.bodies[record_id]

    @invariant()
    def every_batch_has_its_turn(self) -> None:
        """A batch is leased, or waits, or stands behind another one; never two of these."""
        leased = set(self.client.zrange(keys.leases(NAME), 0, -1))
        waiting = set(self.client.zrange(f"{keys.base(NAME)}:retries", 0, -1))
        batches = self.client.hgetall(keys.batches(NAME))
        assert not leased & waiting
        assert leased | waiting <= batches.keys()
        for batch_id, raw in batches.items():
            batch = orjson.loads(raw)
            held = [self.hold_of(batch["kind"], part[0]) for part in batch.get("parts") or ()]
            assert all(batch_id in hold for hold in held)
            first = all(hold[0] == batch_id for hold in held)
            assert first == (batch_id in leased | waiting), (batch_id, batch)

    def teardown(self) -> None:
        """At last, with a vendor that takes all, everything is delivered that is not dead."""
        self.buffer.resume()
        self.buffer.recover(unbegun=True)
        patient = len(self.model.accepted) * 2 + 10
        while True:
            self.time_passes()
            self.buffer.recover()
            claim = self.buffer.claim(begun=True)
            if claim is None:
                break
            self.hold(claim)
            self.settle_claim(claim, [DELIVERED] * claim.size)
            patient -= 1
            assert patient, "no end"
        self.each_record_is_in_one_place()
        self.the_counts_add_up()
        assert sum(places.open for places in self.buffer.status().kinds.values()) == 0

    # How it is known

    def places(self) -> Iterator[tuple[str, str]]:
        """Every record that is anywhere, and where."""
        for key in self.client.scan_iter(f"{keys.base(NAME)}:*", count=1000):
            tail = key.decode().removeprefix(f"{keys.base(NAME)}:")
            if tail.startswith(("pending:", "batch:")):
                yield from ((each[:32].decode(), tail) for each in self.client.lrange(key, 0, -1))
        yield from ((letter.id, f"dead:{letter.kind}") for letter in self.letters.select())
        yield from ((each, "delivered") for each in self.model.delivered)
        yield from ((each, "purged") for each in self.model.purged)

    def stored(self) -> Iterator[tuple[str, bytes]]:
        """The records that are not gone, with the bytes that would be sent."""
        for key in self.client.scan_iter(f"{keys.base(NAME)}:*", count=1000):
            if b":pending:" in key or b":batch:" in key:
                for each in self.client.lrange(key, 0, -1):
                    yield each[:32].decode(), stored_body(each)
        yield from ((letter.id, letter.body) for letter in self.letters.select())

    def hold_of(self, kind: str, partition: int) -> list[bytes]:
        """The batches out of a partition, in order."""
        return list(self.client.lrange(f"{keys.base(NAME)}:hold:{kind}:{partition}", 0, -1))

    def owns(self, claim: Claim) -> bool:
        """Whether a worker's claim is still good for a settlement."""
        raw = self.client.hget(keys.batches(NAME), claim.batch)
        batch = orjson.loads(raw) if raw else {}
        return batch.get("token") == claim.token and batch.get("begun") != 0

    def a_claim(self, pick: int) -> Claim:
        """One of the last claims: some of them are stale, but not most."""
        return self.claims[-1 - pick % min(5, len(self.claims))]

    def hold(self, claim: Claim) -> None:
        """Note a claim; of one that is begun, look that it may be sent now."""
        self.claims.append(claim)
        if claim.begun_ms:
            assert len(claim.records) == claim.size
            if claim.kind == Kind.PROFILE and self.promises_order:
                self.assert_in_line([each[:32].decode() for each in claim.records])

    def assert_in_line(self, ids: list[str]) -> None:
        """No update is sent before an earlier one of the same identity that is not gone."""
        mine: dict[str, list[str]] = {}
        for each in ids:
            mine.setdefault(self.model.who[each], []).append(each)
        for who, sent in mine.items():
            assert sent == self.model.lines[who][: len(sent)], (who, sent, self.model.lines[who])

    def settle_claim(self, claim: Claim, verdicts: list[Verdict]) -> None:
        """Settle, and note what moved; a stale claim moves nothing."""
        owns = self.owns(claim)
        named = [(at, each) for at, each in enumerate(verdicts, 1) if each is not DELIVERED]
        if len(named) == claim.size and len(set(verdicts)) == 1:
            settle = Settle(verdicts[0])
        else:
            settle = Settle(DELIVERED, named)
        settled = self.buffer.finish(claim, settle, "200").settled
        assert (settled is not None) == owns
        if settled is None:
            return
        for stored, verdict in zip(claim.records, verdicts, strict=True):
            record_id = stored[:32].decode()
            if verdict.outcome is not Outcome.RETRY:
                self.model.leave(claim.kind, record_id)
            if verdict is DELIVERED:
                self.model.delivered.add(record_id)
        numbers = Counter(each.outcome for each in verdicts)
        assert settled.delivered == numbers[Outcome.DELIVERED]
        assert settled.dead == numbers[Outcome.DEAD]
        assert settled.retrying == numbers[Outcome.RETRY]

    def note_replayed(self, letters: list[DeadLetter]) -> None:
        """Replayed letters stand at the end of their lines."""
        for letter in letters:
            self.model.enter(letter.kind, self.model.who[letter.id], letter.id)
        self.model.replayed += len(letters)

    @staticmethod
    def never(kept: object) -> None:
        """Every record of this test passes the schema."""
        raise AssertionError(kept)


def test_buffer_under_any_operations_keeps_its_promise(
    every_redis: redis.Redis, rng: random.Random
) -> None:
    """Whatever producers, workers, drains and operators do in whatever order, nothing is lost,
    duplicated, overtaken, stuck or miscounted."""

    class Machine(BufferMachine):
        def __init__(self) -> None:
            super().__init__(every_redis)

    run_state_machine_as_test(
        seed(rng.randrange(2**32))(Machine),
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("disorder", [0, 2], ids=["in order", "order given up and taken up"])
def test_buffer_over_a_long_life_keeps_its_promise(
    every_redis: redis.Redis, rng: random.Random, disorder: int
) -> None:
    """The same over one long life of the buffer, with much open at any moment."""
    life = BufferMachine(every_redis)
    operations: Mapping[Callable[[], None], int] = {
        life.disorder: disorder,
        lambda: life.accept(rng.choice([Kind.EVENT, Kind.PROFILE]), rng.choices(PEOPLE, k=4)): 4,
        lambda: life.claim(rng.random() < 0.5, rng.random() < 0.2): 5,
        lambda: life.begin(rng.randrange(99), rng.random() < 0.2): 5,
        lambda: life.settle(rng.randrange(99), rng.choices(OUTCOMES, k=4)): 6,
        lambda: life.deliver([rng.choices(OUTCOMES, k=4)]): 4,
        life.isolate: 2,
        life.time_passes: 2,
        lambda: life.split(rng.randrange(99)): 3,
        lambda: life.recover(rng.random() < 0.2): 3,
        lambda: life.replay(rng.choice([None, Kind.EVENT, Kind.PROFILE]), rng.randrange(2)): 2,
        lambda: life.edit(rng.choice(PEOPLE), rng.randrange(99)): 2,
        lambda: life.purge(rng.choice([Kind.EVENT, Kind.PROFILE]), rng.random() < 0.5): 1,
        lambda: life.repartition(rng.randrange(1, 6)): 2,
        lambda: life.pause(rng.randrange(99)): 1,
        lambda: life.trace(rng.randrange(10**6)): 2,
    }
    life.begin_with_updates(PEOPLE * 3)
    life.claim(begun=False, hasty=False)
    for _ in range(STEPS):
        rng.choices(list(operations), list(operations.values()))[0]()
        life.each_record_is_in_one_place()
        life.the_counts_add_up()
        life.bodies_are_never_touched()
        life.every_batch_has_its_turn()
    life.teardown()


@pytest.mark.parametrize("who", ["ann", "bob"])
def test_model_and_schema_agree_on_identities(who: str) -> None:
    """The machine's records belong to the partition that their schema's identity chooses."""
    prepared = SETTINGS.account.schema().prepare(record_of(Kind.PROFILE, who, 1), now_s=1)
    assert identity_hash(prepared.identity) == identity_hash(f"identity:{who}".encode())
