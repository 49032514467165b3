"""Dead letters on a real Redis: found, put together, replayed in order, mended, thrown away."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from typing import Any

import orjson
import pytest
import redis

from support.stored import stored
from worker.buffer import keys
from worker.buffer.buffer import Buffer
from worker.buffer.claims import Settle
from worker.buffer.records import accepted_at_ms, unpack
from worker.connections.clients import worker_client
from worker.connections.embedded.server import EmbeddedRedis
from worker.dead_letters.groups import OTHER_TEXTS, group_letters
from worker.dead_letters.letters import (
    DeadLetter,
    DeadLetters,
    LetterFilter,
    chain_letters,
    epoch_ms,
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
POISON = Verdict(Outcome.DEAD, "poison", None, "3 workers died of this batch")


def event(who: str, number: int = 0, name: str = "Viewed") -> dict[str, Any]:
    """An event in the vendor's shape."""
    data = {"Number": number}
    return {"identity": who, "type": "event", "ts": 1_700_000_000, "evtName": name, "evtData": data}


def profile(who: str, number: int = 0) -> dict[str, Any]:
    """A profile update in the vendor's shape."""
    data = {"Number": number}
    return {"identity": who, "type": "profile", "ts": 1_700_000_000, "profileData": data}


class Desk:
    """A destination, its records, and an operator's hands on them."""

    def __init__(self, client: redis.Redis) -> None:
        self.client: Any = client
        self.buffer = Buffer(client, SETTINGS)
        self.letters = DeadLetters(client, SETTINGS)
        self.replays = Replayer(client, SETTINGS)
        self.kept: list[NotReplayed] = []

    def accept(self, records: Sequence[dict[str, Any]]) -> list[str]:
        """Take records of one kind; returns their ids."""
        schema = SETTINGS.account.schema()
        prepared = [schema.prepare(record, now_s=1_700_000_000) for record in records]
        packed = [stored(each, SETTINGS) for each in prepared]
        kind, identities = prepared[0].kind, [each.identity for each in prepared]
        for at in range(0, len(packed), 1000):
            self.buffer.accept(kind, identities[at : at + 1000], packed[at : at + 1000])
        return [each[:32].decode() for each in packed]

    def settle(self, settle: Settle) -> int:
        """Settle everything that is ready; returns how many records died."""
        died = 0
        while (claim := self.buffer.claim(begun=True)) is not None:
            settled = self.buffer.settle(claim, settle, "200")
            assert settled is not None
            died += settled.dead
        return died

    def kill(self, records: Sequence[dict[str, Any]], verdict: Verdict = REFUSED) -> list[str]:
        """Let records be accepted and die; returns their ids."""
        ids = self.accept(records)
        assert self.settle(Settle(verdict)) == len(ids)
        return ids

    def replay(self, where: LetterFilter | None = None) -> int:
        """Replay what a filter means, and look that all adds up."""
        replayed = self.replays.replay(
            self.letters.select(where or LetterFilter()), self.kept.append
        )
        self.adds_up()
        return replayed

    def mend(self, *mended: Replacement) -> int:
        """Replay mended records, and look that all adds up."""
        replayed = self.replays.replay_edited(mended, self.kept.append)
        self.adds_up()
        return replayed

    def adds_up(self) -> None:
        """Every accepted record is in one place."""
        for kind, places in self.buffer.status().kinds.items():
            assert places.adds_up, (kind, places)

    def sent(self, kind: str) -> list[Any]:
        """Deliver everything; returns the records of one kind in the order they were sent."""
        records = []
        while (claim := self.buffer.claim(begun=True)) is not None:
            if claim.kind == kind:
                records += [orjson.loads(unpack(each).body) for each in claim.records]
            assert self.buffer.settle(claim, Settle(DELIVERED), "200")
        return records


@pytest.fixture
def desk(redis_client: redis.Redis) -> Desk:
    """A destination without a record."""
    return Desk(redis_client)


def test_a_dead_letter_tells_all_that_is_known(desk: Desk) -> None:
    """It carries the record itself, why it died, and when it was accepted and failed."""
    ids = desk.kill([event("ann", 1)])
    (letter,) = desk.letters.select()
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
    assert epoch_ms(iso(failed_at)) == failed_at
    assert iso(1_700_000_000_007) == "2023-11-14T22:13:20.007Z"


@pytest.mark.parametrize("text", ["", "yesterday", None, 12, "2023-11-14T22:13:20"])
def test_what_is_no_time_is_time_nought(text: Any) -> None:
    """A time that a person spoiled in a file is no reason to stop."""
    assert epoch_ms(text) == 0


def test_filters_choose_by_kind_code_reason_and_id(desk: Desk) -> None:
    """A vendor's code, a reason of ours, a kind, an id: each alone and together."""
    refused = desk.kill([event("ann"), event("bob")])
    expired = desk.kill([profile("ann")], EXPIRED)
    poison = desk.kill([profile("bob")], POISON)

    def chosen(**where: str) -> list[str]:
        selection = desk.letters.select(LetterFilter(**where))
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
    assert [each.id for each in chain_letters([desk.letters.select()], 2)] == refused


def test_groups_are_by_cause(desk: Desk) -> None:
    """Texts that differ in the record's position alone are one group, with its first and last."""
    for position in (1, 2, 31):
        text = f"Event Name is incorrect. Skipped record number : {position}"
        desk.kill([event("ann")], Verdict(Outcome.DEAD, "refused", 513, text))
    desk.kill([event("ann", name="Bought")], REFUSED)
    letters = list(desk.letters.select())
    largest, other = group_letters(letters)
    assert (largest.text, largest.event, largest.count) == ("Event Name is incorrect.", "Viewed", 3)
    assert (largest.first_ms, largest.last_ms) == (letters[0].failed_at_ms, letters[2].failed_at_ms)
    assert other.to_json() == {
        "destination": "letters",
        "kind": "event",
        "reason": "refused",
        "code": 515,
        "text": REFUSED.error,
        "event": "Bought",
        "count": 1,
        "first": iso(letters[3].failed_at_ms),
        "last": iso(letters[3].failed_at_ms),
    }


def test_groups_are_bounded(desk: Desk) -> None:
    """A vendor that writes a value into each text makes no summary without end."""
    for number in range(5):
        desk.kill([event("ann")], Verdict(Outcome.DEAD, "refused", 1, f"no such thing: {number}"))
    groups = group_letters(desk.letters.select(), most_groups=2)
    assert [(group.text, group.count) for group in groups] == [
        (OTHER_TEXTS, 3),
        ("no such thing: 0", 1),
        ("no such thing: 1", 1),
    ]


def test_a_replayed_update_stands_behind_what_is_buffered(desk: Desk) -> None:
    """What came after it from the same identity is sent before it: it goes to the line's end."""
    people = ["ann", "bob", "cid"]
    desk.kill([profile(who, 1) for who in people])
    desk.accept([profile(who, 2) for who in people])
    assert desk.replay() == 3
    desk.accept([profile(who, 3) for who in people])
    sent = desk.sent(Kind.PROFILE)
    for who in people:
        numbers = [each["profileData"]["Number"] for each in sent if each["identity"] == who]
        assert numbers == [2, 1, 3]
    desk.adds_up()


def test_replayed_updates_keep_their_order(desk: Desk) -> None:
    """Several dead updates of one identity are sent again in the order in which they died."""
    for number in range(30):
        desk.kill([profile("ann", number)])
    assert desk.replay() == 30
    assert [each["profileData"]["Number"] for each in desk.sent(Kind.PROFILE)] == list(range(30))


def test_a_replay_changes_no_byte(desk: Desk) -> None:
    """What is sent again is what was sent: the same id, header and body."""
    ids = desk.accept([event("ann", number, "Vu à Zürich \U0001f600") for number in range(3)])
    before = desk.client.lrange(keys.pending("letters", Kind.EVENT), 0, -1)
    desk.settle(Settle(REFUSED))
    assert desk.replay() == 3
    assert desk.client.lrange(keys.pending("letters", Kind.EVENT), 0, -1) == before
    assert [each[:32].decode() for each in before] == ids


def test_ten_thousand_dead_letters(desk: Desk) -> None:
    """All are replayed, page by page, in order; and a selection is not confused by its own work."""
    events = desk.accept([event(f"i{number}", number) for number in range(10_000)])
    updates = desk.accept([profile(f"i{number % 97}", number) for number in range(3_000)])
    assert desk.settle(Settle(REFUSED)) == 13_000
    selection = desk.letters.select()
    assert selection.size == 13_000
    assert [letter.id for letter in desk.letters.select(LetterFilter(kind=Kind.EVENT))] == events
    assert desk.replay() == 13_000
    assert list(selection) == []
    places = desk.buffer.status().kinds
    assert (places[Kind.EVENT].buffered, places[Kind.PROFILE].buffered) == (10_000, 3_000)
    assert (places[Kind.EVENT].totals["replayed"], places[Kind.PROFILE].totals["replayed"]) == (
        10_000,
        3_000,
    )
    sent = [each["profileData"]["Number"] for each in desk.sent(Kind.PROFILE)]
    for who in range(97):
        numbers = [number for number in sent if number % 97 == who]
        assert numbers == sorted(numbers)
    assert len(sent) == len(updates)


def test_what_dies_again_is_not_replayed_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A selection ends at the last letter of its moment, however fast replayed ones die again."""
    monkeypatch.setattr("worker.dead_letters.replay.CHUNK", 2)
    monkeypatch.setattr("worker.dead_letters.letters.PAGE", 2)
    desk.kill([event("ann", number) for number in range(5)])
    selection = desk.letters.select()
    replayed = desk.replays.replay(
        selection, desk.kept.append, advance=lambda _: desk.settle(Settle(REFUSED))
    )
    assert replayed == 5
    assert desk.letters.select().count() == 5
    assert desk.buffer.status().kinds[Kind.EVENT].totals["dead_lettered"] == 10
    desk.adds_up()


def test_a_selection_leaves_later_deaths_alone(desk: Desk) -> None:
    """Neither a purge nor a replay, nor one by id, touches what died after it began."""
    (early,) = desk.kill([event("ann", 1)])
    selection = desk.letters.select()
    none = desk.letters.select(LetterFilter(id=early))
    (late,) = desk.kill([event("ann", 2)])
    assert selection.purge() == 1
    assert [letter.id for letter in desk.letters.select()] == [late]
    assert none.count() == 0
    by_id = desk.letters.select(LetterFilter(id=late))
    desk.replay()
    desk.settle(Settle(REFUSED))
    assert by_id.purge() == 0, "it died again, later"
    desk.adds_up()


def test_a_purge_is_counted(desk: Desk) -> None:
    """What is thrown away stays in the account, under purged."""
    desk.kill([event("ann", number) for number in range(1200)])
    desk.kill([profile("ann")])
    told: list[int] = []
    assert desk.letters.select(LetterFilter(kind=Kind.EVENT)).purge(told.append) == 1200
    assert sum(told) == 1200
    places = desk.buffer.status().kinds
    assert (places[Kind.EVENT].dead, places[Kind.EVENT].totals["purged"]) == (0, 1200)
    assert (places[Kind.PROFILE].dead, places[Kind.PROFILE].totals["purged"]) == (1, 0)
    assert desk.letters.select(LetterFilter(kind=Kind.EVENT)).purge() == 0
    desk.adds_up()


def test_a_mended_record_takes_the_dead_ones_place(desk: Desk) -> None:
    """The mended record keeps its id; its header tells the day and name it has now."""
    first, second = desk.kill([event("ann", 1), event("bob", 2)])
    letters = {letter.id: letter for letter in desk.letters.select()}
    better = {**event("ann", 7, "Bought"), "ts": 1_700_086_400}
    assert desk.mend(Replacement(1, first, better, letters[first].failed_at_ms)) == 1
    (packed,) = desk.client.lrange(keys.pending("letters", Kind.EVENT), 0, -1)
    told = unpack(packed)
    assert (told.id, told.day, told.name) == (first, "20231115", "Bought")
    assert orjson.loads(told.body) == better
    assert [letter.id for letter in desk.letters.select()] == [second]
    assert desk.kept == []


def test_a_mended_update_moves_to_its_new_identitys_line(desk: Desk) -> None:
    """An update whose identity was mended stands behind what that identity has buffered."""
    (died,) = desk.kill([profile("nobody", 1)])
    desk.accept([profile("ann", number) for number in range(2, 12)])
    assert desk.mend(Replacement(1, died, profile("ann", 1))) == 1
    sent = [each["profileData"]["Number"] for each in desk.sent(Kind.PROFILE)]
    assert sent == [*range(2, 12), 1]


def test_an_untouched_record_of_a_file_changes_no_byte(desk: Desk) -> None:
    """A number that JSON has several spellings for is sent as it was, when nobody mended it."""
    desk.accept([event("ann")])
    list_key = keys.pending("letters", Kind.EVENT)
    before = desk.client.lindex(list_key, 0).replace(b'"Number":0', b'"Number":1e1')
    desk.client.lset(list_key, 0, before)
    desk.settle(Settle(REFUSED))
    (letter,) = desk.letters.select()
    assert desk.mend(Replacement(1, letter.id, letter.to_json()["record"])) == 1
    assert desk.client.lrange(list_key, 0, -1) == [before]


def test_a_mended_record_is_held_against_the_schema(desk: Desk) -> None:
    """What still breaks a rule stays dead, and its field and rule are named, not its value."""
    first, second, third = desk.kill([event("ann", 1), event("bob", 2), event("cid", 3)])
    broken = {**event("ann", 1), "evtName": ""}
    replayed = desk.mend(
        Replacement(1, first, broken),
        Replacement(2, second, profile("bob")),
        Replacement(3, third, event("cid", 4)),
        Replacement(4, "0" * 32, event("dot")),
        Replacement(5, third, event("cid", 5)),
    )
    assert replayed == 1
    assert [(kept.position, kept.id, list(kept.errors)) for kept in desk.kept] == [
        (1, first, ["evtName"]),
        (2, second, ["type"]),
        (4, "0" * 32, ["id"]),
    ]
    assert "required" in desk.kept[0].errors["evtName"][0]
    assert [letter.id for letter in desk.letters.select()] == [first, second]
    assert [each["evtData"]["Number"] for each in desk.sent(Kind.EVENT)] == [4]


def test_an_ordered_record_that_the_schema_refuses_today_stays(desk: Desk) -> None:
    """Without the schema nobody knows whose it is, so it is left where it is, and told."""
    desk.accept([profile("ann"), profile("bob")])
    for partition in range(4):
        list_key = keys.pending("letters", Kind.PROFILE, partition)
        for at, packed in enumerate(desk.client.lrange(list_key, 0, -1)):
            desk.client.lset(list_key, at, packed.replace(b'"identity":"ann"', b'"identity":null'))
    desk.settle(Settle(REFUSED))
    assert desk.replay() == 1
    (letter,) = desk.letters.select()
    assert [kept.id for kept in desk.kept] == [letter.id]
    assert desk.kept[0].errors


def test_letters_are_found_by_id_wherever_they_are(desk: Desk, rng: random.Random) -> None:
    """A record is found among thousands, and also where its time of acceptance lies ahead."""
    ids = desk.kill([event("ann", number) for number in range(3_000)])
    for record_id in rng.sample(ids, 20):
        found = desk.letters.find(record_id)
        assert found is not None
        assert found.id == record_id
    assert desk.letters.find("0" * 32) is None
    ahead = f"{accepted_at_ms(ids[-1]) + 86_400_000:012x}" + ids[0][12:]
    desk.client.xadd(
        keys.dead("letters", Kind.EVENT),
        {
            "record": f"{ahead} 20231114 Viewed\n{{}}",
            "reason": "",
            "code": "",
            "error": "",
            "attempts": 1,
        },
    )
    letter = desk.letters.find(ahead)
    assert isinstance(letter, DeadLetter)
    assert letter.id == ahead


def test_the_vendors_opinion(desk: Desk) -> None:
    """The vendor is asked batch by batch; what it would refuse is told by code, and left dead."""
    desk.kill([event(f"i{number}", number) for number in range(1_500)])
    desk.kill([profile("ann"), profile("bob")])
    asked: list[tuple[str, int]] = []

    def ask(kind: str, bodies: Sequence[bytes]) -> list[Verdict]:
        asked.append((kind, len(bodies)))
        bad = Verdict(Outcome.DEAD, "refused", 528, "Discarded event. Skipped record number : 3")
        return [bad if b'"Number":7}' in body else DELIVERED for body in bodies]

    selection = desk.letters.select()
    said = check_replay(selection, ask)
    assert asked == [("event", 1000), ("event", 500), ("profile", 2)]
    assert said.to_json() == {
        "would_pass": 1_501,
        "would_be_refused": 1,
        "refused": [{"code": 528, "error": "Discarded event.", "count": 1}],
    }
    assert desk.replays.replay(selection, desk.kept.append, without=said.ids) == 1_501
    (letter,) = desk.letters.select()
    assert letter.record["evtData"]["Number"] == 7
    assert ReplayCheck().plus(said) == said


def test_the_vendor_is_asked_no_larger_requests_than_it_is_sent(desk: Desk) -> None:
    """A dry run keeps to the bytes of a batch, too."""
    desk.kill([event(f"i{number}") for number in range(10)])
    small = replace(SETTINGS, batch_max_bytes=250)
    sizes: list[int] = []

    def ask(kind: str, bodies: Sequence[bytes]) -> list[Verdict]:
        sizes.append(sum(map(len, bodies)))
        return [DELIVERED] * len(bodies)

    assert check_replay(DeadLetters(desk.client, small).select(), ask).passed == 10
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
def test_processes_at_once_move_each_letter_once(
    desk: Desk, redis_server: EmbeddedRedis, others: Callable[[str], int]
) -> None:
    """Whatever two operators do with the same letters, each moves once, and is counted once."""
    desk.accept([profile(f"i{number % 7}", number) for number in range(4_000)])
    assert desk.settle(Settle(REFUSED)) == 4_000
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        one, other = (pool.submit(each, redis_server.url) for each in (replay_all, others))
        assert one.result(60) + other.result(60) == 4_000
    desk.adds_up()
    places = desk.buffer.status().kinds[Kind.PROFILE]
    assert places.dead == 0
    assert places.totals["replayed"] == places.buffered
    assert places.totals["replayed"] + places.totals["purged"] == 4_000
    sent = [each["profileData"]["Number"] for each in desk.sent(Kind.PROFILE)]
    for who in range(7):
        numbers = [number for number in sent if number % 7 == who]
        assert numbers == sorted(set(numbers))
