"""Dead letters on a real Redis: found, replayed in order, edited, purged."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import islice
from multiprocessing import get_context
from typing import Any

import orjson
import pytest
import redis

from support.stored import put, stored
from worker.buffer import keys
from worker.buffer.buffer import Buffer
from worker.buffer.claims import Settle
from worker.buffer.records import accepted_at_ms, unpack
from worker.connections.clients import worker_client
from worker.connections.embedded.server import EmbeddedRedis
from worker.dead_letters.letters import (
    DeadLetter,
    DeadLetters,
    LetterFilter,
    iso,
)
from worker.dead_letters.replay import NotReplayed, Replacement, Replayer
from worker.dead_letters.replay_check import ReplayCheck, check_replay
from worker.settings.destination import Destination, KindSettings
from worker.vendors.clevertap.account import CleverTapAccount
from worker.vendors.protocol import DELIVERED, Kind, Outcome, Verdict

SETTINGS = Destination(
    name="letters",
    account=CleverTapAccount(),
    kinds={Kind.EVENT: KindSettings(1000), Kind.PROFILE: KindSettings(100, partitions=4)},
    max_wait_s=0.0,
    concurrency=15,
    flood_window=10**9,
)
REFUSED = Verdict(Outcome.DEAD, "refused", 515, "Profile data is incorrect. Email is not valid.")
EXPIRED = Verdict(Outcome.DEAD, "expired", 503, "HTTP 503")
POISON = Verdict(Outcome.DEAD, "poison", None, "3 workers failed of this batch")


def event(who: str, number: int = 0, name: str = "Viewed") -> dict[str, Any]:
    """An event in the vendor's shape."""
    data = {"Number": number}
    return {"identity": who, "type": "event", "ts": 1_700_000_000, "evtName": name, "evtData": data}


def profile(who: str, number: int = 0) -> dict[str, Any]:
    """A profile update in the vendor's shape."""
    data = {"Number": number}
    return {"identity": who, "type": "profile", "ts": 1_700_000_000, "profileData": data}


class Operator:
    """A destination, its records, and what an operator does with them."""

    def __init__(self, client: redis.Redis) -> None:
        self.client: Any = client
        self.buffer = Buffer(client, SETTINGS)
        self.letters = DeadLetters(client, SETTINGS)
        self.replayer = Replayer(client, SETTINGS)
        self.not_replayed: list[NotReplayed] = []

    def accept(self, records: Sequence[dict[str, Any]]) -> list[str]:
        """Accept records of one kind; return their ids."""
        schema = SETTINGS.account.schema()
        prepared = [schema.prepare(record, now_s=1_700_000_000) for record in records]
        packed = [stored(each, SETTINGS) for each in prepared]
        kind, identities = prepared[0].kind, [each.identity for each in prepared]
        for at in range(0, len(packed), 1000):
            put(self.buffer, kind, identities[at : at + 1000], packed[at : at + 1000])
        return [each[:32].decode() for each in packed]

    def settle(self, settle: Settle) -> int:
        """Settle everything that is ready; return how many records failed."""
        failed = 0
        while (claim := self.buffer.claim(begun=True)) is not None:
            settled = self.buffer.finish(claim, settle, "200").settled
            assert settled is not None
            failed += settled.dead
        return failed

    def fail(self, records: Sequence[dict[str, Any]], verdict: Verdict = REFUSED) -> list[str]:
        """Let records be accepted and fail; return their ids."""
        ids = self.accept(records)
        assert self.settle(Settle(verdict)) == len(ids)
        return ids

    def replay(self, where: LetterFilter | None = None) -> int:
        """Replay what a filter matches, and check that all adds up."""
        replayed = self.replayer.replay(
            self.letters.select(where or LetterFilter()), self.not_replayed.append
        )
        self.adds_up()
        return replayed

    def replay_edited(self, *edited: Replacement) -> int:
        """Replay edited records, and check that all adds up."""
        replayed = self.replayer.replay_edited(edited, self.not_replayed.append)
        self.adds_up()
        return replayed

    def adds_up(self) -> None:
        """Every accepted record is in one place."""
        for kind, places in self.buffer.status().kinds.items():
            assert places.adds_up, (kind, places)

    def sent(self, kind: str) -> list[Any]:
        """Deliver everything; return the records of one kind in the order they were sent."""
        records = []
        while (claim := self.buffer.claim(begun=True)) is not None:
            if claim.kind == kind:
                records += [orjson.loads(unpack(each).body) for each in claim.records]
            assert self.buffer.finish(claim, Settle(DELIVERED), "200").settled
        return records


@pytest.fixture
def operator(redis_client: redis.Redis) -> Operator:
    """A destination without a record."""
    return Operator(redis_client)


def test_dead_letter_has_record_reason_and_times(operator: Operator) -> None:
    """It holds the record itself, why it failed, and when it was accepted and failed."""
    ids = operator.fail([event("ann", 1)])
    (letter,) = operator.letters.select()
    failed_at = letter.failed_at_ms
    assert letter.to_json() == {
        "id": letter.to_json()["id"],
        "destination": "letters",
        "kind": "event",
        "reason": "refused",
        "code": 515,
        "error": REFUSED.error,
        "attempts": 1,
        "accepted_at": iso(accepted_at_ms(ids[0])),
        "failed_at": iso(failed_at),
        "record": event("ann", 1),
    }
    assert letter.to_json()["id"].replace("-", "") == ids[0]


def test_filter_selects_by_kind_code_reason_and_id(operator: Operator) -> None:
    """The vendor's code, one of our reasons, a kind, an id: each alone and together."""
    refused = operator.fail([event("ann"), event("bob")])
    expired = operator.fail([profile("ann")], EXPIRED)
    poison = operator.fail([profile("bob")], POISON)

    def chosen(**where: str) -> list[str]:
        selection = operator.letters.select(LetterFilter(**where))
        ids = [letter.id for letter in selection]
        assert selection.count() == len(ids)
        return ids

    assert chosen() == refused + expired + poison
    assert chosen(kind="profile") == expired + poison
    assert chosen(kind="token") == []
    assert chosen(code="515") == refused
    assert chosen(code="503") == chosen(code="expired") == expired
    assert chosen(code="poison") == poison
    assert chosen(id=refused[1]) == [refused[1]]
    assert chosen(id=refused[1], kind="profile") == chosen(id=refused[1], code="1") == []
    assert [each.id for each in islice(operator.letters.select(), 2)] == refused


def test_replayed_update_is_sent_after_buffered_ones(operator: Operator) -> None:
    """Later updates of the same identity are sent before it: it goes to the end."""
    people = ["ann", "bob", "cid"]
    operator.fail([profile(who, 1) for who in people])
    operator.accept([profile(who, 2) for who in people])
    assert operator.replay() == 3
    operator.accept([profile(who, 3) for who in people])
    sent = operator.sent(Kind.PROFILE)
    for who in people:
        numbers = [each["profileData"]["Number"] for each in sent if each["identity"] == who]
        assert numbers == [2, 1, 3]
    operator.adds_up()


def test_replayed_updates_keep_their_order(operator: Operator) -> None:
    """Several failed updates of one identity are sent again in the order in which they failed."""
    for number in range(30):
        operator.fail([profile("ann", number)])
    assert operator.replay() == 30
    assert [each["profileData"]["Number"] for each in operator.sent(Kind.PROFILE)] == list(
        range(30)
    )


def test_replay_changes_no_byte(operator: Operator) -> None:
    """The record is sent again with the same id, header and body."""
    ids = operator.accept([event("ann", number, "Vu à Zürich \U0001f600") for number in range(3)])
    before = operator.client.lrange(keys.pending("letters", Kind.EVENT), 0, -1)
    operator.settle(Settle(REFUSED))
    assert operator.replay() == 3
    assert operator.client.lrange(keys.pending("letters", Kind.EVENT), 0, -1) == before
    assert [each[:32].decode() for each in before] == ids


def test_replay_of_ten_thousand_dead_letters_moves_all(operator: Operator) -> None:
    """All are replayed, page by page, in order; its own work does not affect the selection."""
    events = operator.accept([event(f"i{number}", number) for number in range(10_000)])
    updates = operator.accept([profile(f"i{number % 97}", number) for number in range(3_000)])
    assert operator.settle(Settle(REFUSED)) == 13_000
    selection = operator.letters.select()
    assert selection.size == 13_000
    assert [
        letter.id for letter in operator.letters.select(LetterFilter(kind=Kind.EVENT))
    ] == events
    assert operator.replay() == 13_000
    assert list(selection) == []
    places = operator.buffer.status().kinds
    assert (places[Kind.EVENT].buffered, places[Kind.PROFILE].buffered) == (10_000, 3_000)
    assert (places[Kind.EVENT].totals["replayed"], places[Kind.PROFILE].totals["replayed"]) == (
        10_000,
        3_000,
    )
    sent = [each["profileData"]["Number"] for each in operator.sent(Kind.PROFILE)]
    for who in range(97):
        numbers = [number for number in sent if number % 97 == who]
        assert numbers == sorted(numbers)
    assert len(sent) == len(updates)


def test_replay_of_records_that_fail_again_ends(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A selection ends at its last dead letter, however fast replayed ones fail again."""
    monkeypatch.setattr("worker.dead_letters.replay.CHUNK", 2)
    monkeypatch.setattr("worker.dead_letters.letters.PAGE", 2)
    operator.fail([event("ann", number) for number in range(5)])
    selection = operator.letters.select()
    replayed = operator.replayer.replay(
        selection, operator.not_replayed.append, advance=lambda _: operator.settle(Settle(REFUSED))
    )
    assert replayed == 5
    assert operator.letters.select().count() == 5
    assert operator.buffer.status().kinds[Kind.EVENT].totals["dead_lettered"] == 10
    operator.adds_up()


def test_selection_excludes_later_dead_letters(operator: Operator) -> None:
    """Neither a purge nor a replay, nor one by id, touches what failed after it was made."""
    (early,) = operator.fail([event("ann", 1)])
    selection = operator.letters.select()
    none = operator.letters.select(LetterFilter(id=early))
    (late,) = operator.fail([event("ann", 2)])
    assert selection.purge() == 1
    assert [letter.id for letter in operator.letters.select()] == [late]
    assert none.count() == 0
    by_id = operator.letters.select(LetterFilter(id=late))
    operator.replay()
    operator.settle(Settle(REFUSED))
    assert by_id.purge() == 0, "it failed again, later"
    operator.adds_up()


def test_purge_is_counted(operator: Operator) -> None:
    """Purged records stay in the balance, as purged."""
    operator.fail([event("ann", number) for number in range(1200)])
    operator.fail([profile("ann")])
    progress: list[int] = []
    assert operator.letters.select(LetterFilter(kind=Kind.EVENT)).purge(progress.append) == 1200
    assert sum(progress) == 1200
    places = operator.buffer.status().kinds
    assert (places[Kind.EVENT].dead, places[Kind.EVENT].totals["purged"]) == (0, 1200)
    assert (places[Kind.PROFILE].dead, places[Kind.PROFILE].totals["purged"]) == (1, 0)
    assert operator.letters.select(LetterFilter(kind=Kind.EVENT)).purge() == 0
    operator.adds_up()


def test_edited_record_replaces_the_dead_letter(operator: Operator) -> None:
    """The edited record keeps its id; its header has the day and name that it has now."""
    first, second = operator.fail([event("ann", 1), event("bob", 2)])
    letters = {letter.id: letter for letter in operator.letters.select()}
    better = {**event("ann", 7, "Bought"), "ts": 1_700_086_400}
    assert operator.replay_edited(Replacement(1, first, better, letters[first].failed_at_ms)) == 1
    (packed,) = operator.client.lrange(keys.pending("letters", Kind.EVENT), 0, -1)
    sent = unpack(packed)
    assert (sent.id, sent.day, sent.name) == (first, "20231115", "Bought")
    assert orjson.loads(sent.body) == better
    assert [letter.id for letter in operator.letters.select()] == [second]
    assert operator.not_replayed == []


def test_edited_update_is_ordered_by_its_new_identity(operator: Operator) -> None:
    """An update with an edited identity is sent after that identity's buffered ones."""
    (failed,) = operator.fail([profile("unknown", 1)])
    operator.accept([profile("ann", number) for number in range(2, 12)])
    assert operator.replay_edited(Replacement(1, failed, profile("ann", 1))) == 1
    sent = [each["profileData"]["Number"] for each in operator.sent(Kind.PROFILE)]
    assert sent == [*range(2, 12), 1]


def test_unedited_record_of_a_file_changes_no_byte(operator: Operator) -> None:
    """A number that JSON can spell in several ways is sent as it was, unless it was edited."""
    operator.accept([event("ann")])
    list_key = keys.pending("letters", Kind.EVENT)
    before = operator.client.lindex(list_key, 0).replace(b'"Number":0', b'"Number":1e1')
    operator.client.lset(list_key, 0, before)
    operator.settle(Settle(REFUSED))
    (letter,) = operator.letters.select()
    assert operator.replay_edited(Replacement(1, letter.id, letter.to_json()["record"])) == 1
    assert operator.client.lrange(list_key, 0, -1) == [before]


def test_edited_record_that_breaks_a_rule_is_not_replayed(operator: Operator) -> None:
    """It stays a dead letter, and its field and rule are named, not its value."""
    first, second, third = operator.fail([event("ann", 1), event("bob", 2), event("cid", 3)])
    broken = {**event("ann", 1), "evtName": ""}
    replayed = operator.replay_edited(
        Replacement(1, first, broken),
        Replacement(2, second, profile("bob")),
        Replacement(3, third, event("cid", 4)),
        Replacement(4, "0" * 32, event("dot")),
        Replacement(5, third, event("cid", 5)),
    )
    assert replayed == 1
    assert [(kept.position, kept.id, list(kept.errors)) for kept in operator.not_replayed] == [
        (1, first, ["evtName"]),
        (2, second, ["type"]),
        (4, "0" * 32, ["id"]),
    ]
    assert "required" in operator.not_replayed[0].errors["evtName"][0]
    assert [letter.id for letter in operator.letters.select()] == [first, second]
    assert [each["evtData"]["Number"] for each in operator.sent(Kind.EVENT)] == [4]


def test_ordered_record_that_the_schema_refuses_today_is_not_replayed(operator: Operator) -> None:
    """Without the schema its identity is unknown, so it stays, and is reported."""
    operator.accept([profile("ann"), profile("bob")])
    for partition in range(4):
        list_key = keys.pending("letters", Kind.PROFILE, partition)
        for at, packed in enumerate(operator.client.lrange(list_key, 0, -1)):
            operator.client.lset(
                list_key, at, packed.replace(b'"identity":"ann"', b'"identity":null')
            )
    operator.settle(Settle(REFUSED))
    assert operator.replay() == 1
    (letter,) = operator.letters.select()
    assert [kept.id for kept in operator.not_replayed] == [letter.id]
    assert operator.not_replayed[0].errors


def test_find_by_id_finds_every_letter(operator: Operator, rng: random.Random) -> None:
    """A record is found among thousands, and also when its time of acceptance lies ahead."""
    ids = operator.fail([event("ann", number) for number in range(3_000)])
    for record_id in rng.sample(ids, 20):
        found = operator.letters.find(record_id)
        assert found is not None
        assert found.id == record_id
    assert operator.letters.find("0" * 32) is None
    ahead = f"{accepted_at_ms(ids[-1]) + 86_400_000:012x}" + ids[0][12:]
    operator.client.xadd(
        keys.dead("letters", Kind.EVENT),
        {
            "record": f"{ahead} 20231114 Viewed\n{{}}",
            "reason": "",
            "code": "",
            "error": "",
            "attempts": 1,
        },
    )
    letter = operator.letters.find(ahead)
    assert isinstance(letter, DeadLetter)
    assert letter.id == ahead


def test_check_replay_counts_verdicts(operator: Operator) -> None:
    """The vendor is asked batch by batch; what it would refuse is counted by code, and stays."""
    operator.fail([event(f"i{number}", number) for number in range(1_500)])
    operator.fail([profile("ann"), profile("bob")])
    asked: list[tuple[str, int]] = []

    def ask(kind: str, bodies: Sequence[bytes]) -> list[Verdict]:
        asked.append((kind, len(bodies)))
        bad = Verdict(Outcome.DEAD, "refused", 528, "Discarded event. Skipped record number : 3")
        return [bad if b'"Number":7}' in body else DELIVERED for body in bodies]

    selection = operator.letters.select()
    said = check_replay(selection, ask)
    assert asked == [("event", 1000), ("event", 500), ("profile", 2)]
    assert said.to_json() == {
        "would_pass": 1_501,
        "would_be_refused": 1,
        "refused": [{"code": 528, "error": "Discarded event.", "count": 1}],
    }
    assert (
        operator.replayer.replay(selection, operator.not_replayed.append, without=said.ids) == 1_501
    )
    (letter,) = operator.letters.select()
    assert letter.record["evtData"]["Number"] == 7
    assert ReplayCheck().plus(said) == said


def test_check_replay_limits_the_bytes_of_requests(operator: Operator) -> None:
    """A dry run keeps to the bytes of a batch, too."""
    operator.fail([event(f"i{number}") for number in range(10)])
    small = replace(SETTINGS, batch_max_bytes=250)
    sizes: list[int] = []

    def ask(kind: str, bodies: Sequence[bytes]) -> list[Verdict]:
        sizes.append(sum(map(len, bodies)))
        return [DELIVERED] * len(bodies)

    assert check_replay(DeadLetters(operator.client, small).select(), ask).passed == 10
    assert len(sizes) > 1
    assert max(sizes) <= 250


def replay_all(url: str) -> int:
    """Replay everything in a process of its own."""
    with worker_client(url) as client:
        selection = DeadLetters(client, SETTINGS).select()
        return Replayer(client, SETTINGS).replay(selection, lambda _: None)


def purge_all(url: str) -> int:
    """Purge everything in a process of its own."""
    with worker_client(url) as client:
        return DeadLetters(client, SETTINGS).select().purge()


@pytest.mark.parametrize("others", [replay_all, purge_all])
def test_concurrent_replays_and_purges_move_each_letter_once(
    operator: Operator, redis_server: EmbeddedRedis, others: Callable[[str], int]
) -> None:
    """Whatever two operators do with the same letters, each moves once, and is counted once."""
    operator.accept([profile(f"i{number % 7}", number) for number in range(4_000)])
    assert operator.settle(Settle(REFUSED)) == 4_000
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        one, other = (pool.submit(each, redis_server.url) for each in (replay_all, others))
        assert one.result(60) + other.result(60) == 4_000
    operator.adds_up()
    places = operator.buffer.status().kinds[Kind.PROFILE]
    assert places.dead == 0
    assert places.totals["replayed"] == places.buffered
    assert places.totals["replayed"] + places.totals["purged"] == 4_000
    sent = [each["profileData"]["Number"] for each in operator.sent(Kind.PROFILE)]
    for who in range(7):
        numbers = [number for number in sent if number % 7 == who]
        assert numbers == sorted(set(numbers))
