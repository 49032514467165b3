"""What operators see and do on the dashboard, against a real Redis and a vendor on loopback."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from html import unescape
from typing import Any

import orjson
import pytest
import redis

from support.gateway import GatewayProcessFactory
from support.pages import Visitor, VisitorFactory, field, links
from support.pipeline import Pipeline, PipelineFactory, stored_profile
from support.redis_groups import RedisCluster
from support.redis_servers import RedisFactory
from support.vendor import LoopbackVendor
from worker.buffer import keys
from worker.buffer.records import pack
from worker.connections.clients import operator_client
from worker.dashboard.audit_log import KEPT, AuditEntry, AuditLog
from worker.dead_letters.groups import masked_text
from worker.dead_letters.letters import DeadLetters
from worker.settings.destination import Destination, KindSettings
from worker.vendors.clevertap.account import CleverTapAccount
from worker.vendors.clevertap.rules import BAD_AGE, BAD_PHONE
from worker.vendors.protocol import Kind

Kill = Callable[..., Pipeline]
HOSTILE = "<script>alert('x')</script>\"onload='y'"


@pytest.fixture
def kill(pipeline_of: PipelineFactory, vendor: LoopbackVendor) -> Kill:
    """Makes dead letters at destination clevertap: profiles that the vendor refuses."""

    def make(names: Sequence[str], code: int = 516) -> Pipeline:
        pipeline = pipeline_of(name="clevertap")
        for name in names:
            vendor.prescribe(name, code)
        pipeline.accept_profiles(names)
        pipeline.deliver()
        assert pipeline.status().kinds[Kind.PROFILE].dead >= len(names)
        return pipeline

    return make


def the_cause(visitor: Visitor) -> str:
    """The address of the only cause there is."""
    (found,) = links(visitor.get("/dead-letters").text, "/dead-letters/")
    return found


def records(visitor: Visitor) -> list[str]:
    """The addresses of the records of the only cause."""
    return links(visitor.get(the_cause(visitor)).text, "/records/")


def deeds(client: redis.Redis) -> list[tuple[str, str, int]]:
    """Who did what to how many, the newest first."""
    return [(each.user, each.action, each.count) for each in AuditLog(client).latest()]


def readable(html: str) -> str:
    """The words of a page."""
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html)))


def test_the_first_page_shows_where_every_record_is(operator: Visitor, kill: Kill) -> None:
    """The numbers are those of `ingest status`."""
    pipeline = kill(["a", "b"])
    pipeline.accept_profiles(["c", "d", "e"])
    pipeline.deliver()
    pipeline.accept_profiles(["f"])
    words = readable(operator.get("/").text)
    assert "clevertap running" in words
    assert "Accepted 6" in words
    assert "Delivered 3" in words
    assert "Waiting 1" in words
    assert "Dead 2" in words
    assert "Nobody delivers" in words  # no drain runs in this test


def test_a_destinations_page_shows_its_kinds_and_the_vendors_answers(
    operator: Visitor, kill: Kill
) -> None:
    """Numbers by kind, requests by status, deaths by code, and the last requests."""
    kill(["a", "b"])
    words = readable(operator.get("/destinations/clevertap").text)
    assert "profile 2 0 0 \u2013 0 0 2 0" in words
    assert "HTTP 200 1" in words
    assert "516 profile 2" in words
    assert "profile 200 0 2 0" in words


def test_a_destination_that_is_held_back_says_so(
    operator: Visitor, redis_client: redis.Redis
) -> None:
    """It is running, and sends nothing: nobody should wonder why records wait."""
    redis_client.hset(keys.state("clevertap"), "open_at", str(int(time.time() * 1000) + 600_000))
    for path in ("/", "/destinations/clevertap"):
        assert "Held back for" in readable(operator.get(path).text)


def test_a_destination_that_nobody_delivers_to_is_not_told_as_running(
    operator: Visitor, redis_client: redis.Redis
) -> None:
    """Without secrets, or without a line in the settings: each says what is missing."""
    for name in ("gone", "bloomreach"):
        redis_client.hincrby(keys.counters(name), "event:accepted", 1)
    for name, told in (("gone", "Not configured here."), ("bloomreach", "Not enabled here.")):
        words = readable(operator.get(f"/destinations/{name}").text)
        assert f"{name} off " in words
        assert told in words
    operator.send("/destinations/gone", action="pause")
    assert "gone paused" in readable(operator.get("/destinations/gone").text)


def test_pause_and_resume_are_done_and_written_down(
    operator: Visitor, redis_client: redis.Redis
) -> None:
    """The same as the commands, with the reason shown and the person named."""
    where = "/destinations/clevertap"
    assert operator.send(where, action="pause", reason="vendor's maintenance").status_code == 303
    assert "vendor's maintenance" in readable(operator.get("/").text)
    assert operator.send(where, action="resume").status_code == 303
    assert "running" in readable(operator.get(where).text)
    assert deeds(redis_client)[:2] == [("operator", "resumed", 0), ("operator", "paused", 0)]
    assert "vendor's maintenance" in readable(operator.get("/audit").text)


def test_dead_letters_are_grouped_by_what_killed_them(operator: Visitor, kill: Kill) -> None:
    """One line for each code, the largest first, whatever the positions in the vendor's texts."""
    kill(["a", "b", "c"], 516)
    kill(["d"], 515)
    page = operator.get("/dead-letters").text
    assert len(links(page, "/dead-letters/")) == 2
    words = readable(page)
    assert words.index("profile 516 3") < words.index("profile 515 1")


def test_a_records_values_are_hidden_until_asked_for_and_that_is_written_down(
    operator: Visitor, redis_client: redis.Redis, kill: Kill
) -> None:
    """No page holds personal data but the one that says so in the audit."""
    kill(["secret-person"])
    (where,) = records(operator)
    for path in ("/", "/dead-letters", the_cause(operator), where, "/audit"):
        assert "secret-person" not in operator.get(path).text
    assert "13 characters" in operator.get(where).text
    shown = operator.send(where, action="show")
    assert "secret-person" in shown.text
    assert shown.headers["cache-control"] == "no-store"
    assert deeds(redis_client)[0] == ("operator", "saw the record", 1)
    assert "secret-person" not in operator.get("/audit").text


@pytest.mark.parametrize("action", ["check", "vendor", "nonsense", ""])
def test_nothing_but_showing_shows_a_record(operator: Visitor, kill: Kill, action: str) -> None:
    """A form without a text checks what is there, and tells no value of it."""
    kill(["secret-person"])
    (where,) = records(operator)
    assert "secret-person" not in operator.send(where, action=action).text


def test_a_broken_rule_is_told_at_its_line_and_nothing_is_replayed(
    operator: Visitor, kill: Kill
) -> None:
    """The schema's errors stand at their fields, and the text that was typed is kept."""
    pipeline = kill(["a"])
    (where,) = records(operator)
    edited = {"identity": "a", "type": "profile", "profileData": {"Phone": "1", "Age": "x"}}
    for action in ("check", "vendor", "replay"):
        page = operator.send(where, action=action, record=json.dumps(edited)).text
        assert "2 rules are broken" in readable(page)
        marked = re.findall(r'<li class="wrong">(.*?)</li>', page)
        assert [readable(each).strip() for each in marked] == [
            f'"Phone": "1", {BAD_PHONE}',
            f'"Age": "x" {BAD_AGE}',
        ]
        assert json.dumps(edited) in unescape(page)
    assert pipeline.status().kinds[Kind.PROFILE].dead == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"a": NaN}',
        '{"a": 1e999}',
        '{"type": "profile", "identity": "a", "profileData": {"Name": "\\ud800"}}',
        '{"\\ud800": 1}',
        "[" * 100_000,
        "null",
        "[]",
        '"x"',
        '{"type": "event"}',
        "\x00",
    ],
)
def test_a_text_that_is_no_such_record_is_told(operator: Visitor, kill: Kill, text: str) -> None:
    """Whatever is typed: a page that says what is wrong, and the record stays dead."""
    pipeline = kill(["a"])
    (where,) = records(operator)
    page = operator.send(where, action="replay", record=text)
    assert page.status_code == 200
    assert "is broken" in readable(page.text) or "are broken" in readable(page.text)
    assert pipeline.status().kinds[Kind.PROFILE].dead == 1


def test_an_edited_record_goes_back_under_its_id(
    operator: Visitor, redis_client: redis.Redis, kill: Kill, vendor: LoopbackVendor
) -> None:
    """What was typed is what the vendor gets; it is one replayed record, and the places add up."""
    pipeline = kill(["a"])
    (where,) = records(operator)
    edited = {"identity": "b", "type": "profile", "profileData": {"Name": "Ürsula\n"}}
    answer = operator.send(where, action="replay", record=json.dumps(edited, indent=3))
    assert answer.headers["location"] == "/dead-letters?done=replayed&n=1"
    assert "1 dead letter replayed" in readable(operator.get(answer.headers["location"]).text)
    pipeline.deliver()
    assert vendor.taken == {"b": 1}
    places = pipeline.status().kinds[Kind.PROFILE]
    assert (places.dead, places.totals["replayed"], places.totals["delivered"]) == (0, 1, 1)
    assert deeds(redis_client)[0] == ("operator", "replayed, edited", 1)


def test_the_text_of_a_shown_record_goes_back_to_the_byte(
    operator: Visitor, redis_client: redis.Redis, kill: Kill
) -> None:
    """Showing and replaying changes nothing in it, also where JSON could be written otherwise."""
    kill(["a"])
    body = b'{"type":"profile","identity":"a","profileData":{"N":1.0,"T":"a\\r\\nb \\u00fc"}}'
    dead = keys.dead("clevertap", Kind.PROFILE)
    stored = pack(f"{1:032x}", "", "", body)
    redis_client.delete(dead)
    redis_client.xadd(
        dead, {"record": stored, "reason": "refused", "code": 516, "error": "No", "attempts": 1}
    )
    (where,) = records(operator)
    shown = operator.send(where, action="show").text
    typed = unescape(
        shown.partition("<textarea")[2].partition(">\n")[2].partition("</textarea>")[0]
    )
    operator.send(where, action="replay", record=typed.replace("\n", "\r\n"))
    found = [
        stored
        for partition in range(8)
        for stored in redis_client.lrange(keys.pending("clevertap", Kind.PROFILE, partition), 0, -1)
    ]
    assert found == [stored]


def test_all_of_a_cause_are_replayed_and_delivered(
    operator: Visitor, redis_client: redis.Redis, kill: Kill, vendor: LoopbackVendor
) -> None:
    """One press puts them all back; the audit says how many."""
    names = [f"n{at}" for at in range(60)]
    pipeline = kill(names)
    answer = operator.send(the_cause(operator), action="replay")
    assert answer.headers["location"] == "/dead-letters?done=replayed&n=60"
    pipeline.deliver()
    assert set(vendor.taken) == set(names)
    assert deeds(redis_client)[0] == ("operator", "replayed", 60)
    assert "None." in readable(operator.get("/dead-letters").text)


def test_one_dead_letter_is_spoken_of_as_one(operator: Visitor, kill: Kill) -> None:
    """A group may have a single record."""
    kill(["a"])
    words = readable(operator.get(the_cause(operator)).text)
    assert "1 profile died" in words
    assert "Replay it" in words
    assert "Purge it" in words
    assert not re.search(r"all 1\b|\bthem\b|1 records", words, re.IGNORECASE)


def test_a_destination_that_does_not_deliver_is_told_before_a_replay(
    operator: Visitor, kill: Kill
) -> None:
    """A flood of dead letters pauses it: who replays them would else wait and wonder."""
    kill(["a"])
    (where,) = records(operator)
    told = "clevertap is paused: what is replayed waits"
    for path in (the_cause(operator), where):
        assert told not in readable(operator.get(path).text)
    operator.send("/destinations/clevertap", action="pause")
    for path in (the_cause(operator), where):
        assert told in readable(operator.get(path).text)


def test_what_died_after_the_page_was_made_is_not_purged_with_the_others(
    operator: Visitor, redis_client: redis.Redis, kill: Kill
) -> None:
    """A person purges what the page counted, not what came meanwhile."""
    pipeline = kill(["a", "b"])
    cause = the_cause(operator)
    page = operator.get(cause).text
    until = int(field(page, "until"))
    late = pack(f"{2:032x}", "", "", b'{"type":"profile","identity":"z","profileData":{}}')
    told: Any = {"record": late, "reason": "refused", "code": 516, "error": "No.", "attempts": 1}
    redis_client.xadd(keys.dead("clevertap", Kind.PROFILE), told, id=f"{until + 1}-0")
    redis_client.hincrby(keys.counters("clevertap"), "profile:accepted", 1)
    form = {"action": "purge", "until": str(until), "token": field(page, "token")}
    assert operator.post(cause, form).headers["location"] == "/dead-letters?done=purged&n=2"
    places = pipeline.status().kinds[Kind.PROFILE]
    assert (places.dead, places.totals["purged"]) == (1, 2)
    assert deeds(redis_client)[0] == ("operator", "purged", 2)


def test_what_died_by_a_clock_ahead_of_ours_is_shown_and_can_be_purged(
    operator: Visitor, redis_client: redis.Redis
) -> None:
    """Deaths are timed by Redis, whose clock may be another machine's."""
    ahead_ms = int(time.time() * 1000) + 300_000
    told: Any = {"record": stored_profile("a"), "reason": "refused", "code": 516, "error": "No."}
    dead = keys.dead("clevertap", Kind.PROFILE)
    redis_client.xadd(dead, {**told, "attempts": 1}, id=f"{ahead_ms}-0")
    assert operator.send(the_cause(operator), action="purge").headers["location"].endswith("n=1")


def test_one_record_is_purged_alone(
    operator: Visitor, redis_client: redis.Redis, kill: Kill
) -> None:
    """The others of its cause stay."""
    pipeline = kill(["a", "b"])
    where = records(operator)[0]
    assert operator.send(where, action="purge").status_code == 303
    assert pipeline.status().kinds[Kind.PROFILE].dead == 1
    assert operator.get(where).status_code == 404
    assert deeds(redis_client)[0] == ("operator", "purged", 1)


def test_the_vendor_is_asked_before_a_replay_and_names_what_to_mend(
    operator: Visitor, redis_client: redis.Redis, kill: Kill, vendor: LoopbackVendor
) -> None:
    """A dry run: how many would pass, links to those that would not, and nothing is sent."""
    pipeline = kill(["a", "b", "c"])
    vendor.prescribe("b", always=516)
    page = operator.send(the_cause(operator), action="check").text
    words = readable(page)
    assert "2 would pass, 1 would be refused" in words
    (refused,) = links(page.partition("To be mended")[2].partition("</ul>")[0], "/records/")
    assert '"b"' in unescape(operator.send(refused, action="show").text)
    assert vendor.taken == {}
    assert pipeline.status().kinds[Kind.PROFILE].dead == 3
    assert ("operator", "checked with the vendor", 3) in deeds(redis_client)
    asked = operator.send(
        refused, action="vendor", record='{"identity":"a","type":"profile","profileData":{}}'
    )
    assert "The vendor would take it" in asked.text
    asked = operator.send(
        refused, action="vendor", record='{"identity":"b","type":"profile","profileData":{}}'
    )
    assert "The vendor would refuse it (code 516): No." in unescape(asked.text)


def test_what_would_pass_is_replayed_without_the_others(
    operator: Visitor, redis_client: redis.Redis, kill: Kill, vendor: LoopbackVendor
) -> None:
    """The vendor is asked again and has the last word; what it would refuse stays dead."""
    pipeline = kill(["a", "b", "c"])
    vendor.prescribe("b", always=516)
    assert "Replay the 2 that would pass" in operator.send(the_cause(operator), action="check").text
    answer = operator.send(the_cause(operator), action="replay_passing")
    assert answer.headers["location"] == "/dead-letters?done=replayed&n=2"
    pipeline.deliver()
    assert set(vendor.taken) == {"a", "c"}
    assert pipeline.status().kinds[Kind.PROFILE].dead == 1
    assert deeds(redis_client)[0] == ("operator", "replayed", 2)


def test_a_vendor_that_does_not_answer_is_told_and_nothing_is_moved(
    operator: Visitor, kill: Kill, vendor: LoopbackVendor
) -> None:
    """401 to a dry run is the vendor's word on us, not on the records."""
    pipeline = kill(["a"])
    vendor.whole = lambda _: (401, "Unauthorized")
    page = readable(operator.send(the_cause(operator), action="check").text)
    assert "That did not work." in page
    assert "HTTP 401" in page
    assert pipeline.status().kinds[Kind.PROFILE].dead == 1


def test_a_silent_vendor_is_waited_for_as_long_as_a_person_waits(
    operator: Visitor, kill: Kill, vendor: LoopbackVendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deliveries may take half a minute for each try; a page may not."""
    kill(["a"])
    monkeypatch.setattr("worker.dashboard.vendor_check.TIMEOUT_S", 0.1, raising=False)
    monkeypatch.setattr("worker.delivery.dry_run.WAIT_S", 0.01)
    vendor.usual = lambda exchange: exchange.silence()
    began = time.monotonic()
    page = operator.send(the_cause(operator), action="check").text
    assert time.monotonic() - began < 10
    assert "That did not work." in page


def test_what_a_record_or_a_vendor_says_stays_text(
    operator: Visitor, redis_client: redis.Redis
) -> None:
    """Hostile event names, texts, fields and reasons are shown, and never become part of a page."""
    body = {"type": "event", "identity": HOSTILE, "evtName": HOSTILE, "evtData": {HOSTILE: HOSTILE}}
    stored = pack(f"{1:032x}", "20260101", HOSTILE, orjson.dumps(body))
    told: Any = {"record": stored, "reason": HOSTILE, "code": "", "error": HOSTILE, "attempts": 1}
    redis_client.xadd(keys.dead("clevertap", "event"), told)
    operator.send("/destinations/clevertap", action="pause", reason=HOSTILE)
    (where,) = records(operator)
    paths = ("/", "/dead-letters", the_cause(operator), where, "/audit")
    pages = [operator.get(path).text for path in paths]
    assert HOSTILE not in operator.get(f"/dead-letters?done={HOSTILE}&n=1").text
    assert operator.get(f"/dead-letters?destination={HOSTILE}").status_code == 404
    pages.append(operator.send(where, action="show").text)
    pages.append(operator.send(where, action="check", record=HOSTILE).text)
    pages.append(operator.send(where, action="vendor").text)
    for page in pages:
        assert "<script>alert" not in page
        assert "onload='" not in page
        assert HOSTILE in unescape(page)


def test_dead_letters_of_a_destination_nobody_configures_are_shown_and_may_be_purged(
    operator: Visitor,
    redis_client: redis.Redis,
    kill: Kill,
    pipeline_of: PipelineFactory,
    vendor: LoopbackVendor,
) -> None:
    """They would else be lost to sight; replayed, they would wait for ever."""
    pipeline = pipeline_of(name="gone")
    vendor.prescribe("a", 516)
    pipeline.accept_profiles(["a"])
    pipeline.deliver()
    cause = the_cause(operator)
    assert "not configured" in operator.send(cause, action="replay").text
    (where,) = records(operator)
    assert "not configured" in operator.send(where, action="replay").text
    assert pipeline.status().kinds[Kind.PROFILE].dead == 1
    assert operator.send(cause, action="purge").status_code == 303
    assert pipeline.status().kinds[Kind.PROFILE].dead == 0


def test_a_replay_that_the_schema_forbids_is_told_and_the_others_go(
    operator: Visitor, redis_client: redis.Redis, kill: Kill
) -> None:
    """Of an ordered kind nobody knows whose such a record is, so it stays."""
    pipeline = kill(["a"])
    wrong = pack(f"{1:032x}", "", "", b'{"type":"profile","profileData":{}}')
    told: Any = {"record": wrong, "reason": "refused", "code": 516, "error": "No.", "attempts": 1}
    redis_client.xadd(keys.dead("clevertap", Kind.PROFILE), told)
    redis_client.hincrby(keys.counters("clevertap"), "profile:accepted", 1)
    page = operator.send(the_cause(operator), action="replay")
    assert "Not replayed" in page.text
    assert "identity" in page.text
    assert (pipeline.status().kinds[Kind.PROFILE].dead, pipeline.open) == (1, 1)


def test_of_many_that_the_schema_forbids_the_first_are_shown_and_the_others_counted(
    operator: Visitor, redis_client: redis.Redis
) -> None:
    """A hundred thousand of them fill neither the page nor the memory."""
    for at in range(53):
        wrong = pack(f"{at + 1:032x}", "", "", b'{"type":"profile","profileData":{}}')
        told: Any = {"record": wrong, "reason": "refused", "code": 516, "error": "No."}
        redis_client.xadd(keys.dead("clevertap", Kind.PROFILE), {**told, "attempts": 1})
    page = operator.send(the_cause(operator), action="replay").text
    shown = page.partition("Not replayed")[2].partition("</div>")[0]
    assert len(links(shown, "/records/")) == 50
    assert "And 3 others." in shown


def test_the_other_vendors_records_are_shown_edited_and_replayed_alike(
    operator: Visitor, redis_client: redis.Redis
) -> None:
    """Bloomreach's shape and rules; it has no dry run, which is said."""
    body = {"customer_ids": {"registered": "person-7"}, "event_type": "viewed", "properties": {}}
    stored = pack(f"{1:032x}", "20260101", "viewed", orjson.dumps(body))
    told: Any = {"record": stored, "reason": "refused", "code": "", "error": "no", "attempts": 1}
    redis_client.xadd(keys.dead("bloomreach", "event"), told)
    redis_client.hincrby(keys.counters("bloomreach"), "event:accepted", 1)
    (where,) = records(operator)
    hidden = operator.get(where).text
    assert "Check with the vendor" not in hidden
    assert "has no dry run" in operator.get(the_cause(operator)).text
    assert "person-7" not in hidden
    assert "viewed" in hidden
    assert "person-7" in operator.send(where, action="show").text
    wrong = {**body, "customer_ids": {}}
    page = operator.send(where, action="check", record=json.dumps(wrong)).text
    assert "1 rule is broken" in readable(page)
    assert "not enabled" in operator.send(where, action="vendor").text
    edited = json.dumps({**body, "event_type": "seen"})
    assert operator.send(where, action="replay", record=edited).status_code == 303
    found: Any = redis_client.lindex(keys.pending("bloomreach", "event"), 0)
    assert b'"event_type":"seen"' in found
    assert found.startswith(f"{1:032x} ".encode())


def test_a_destination_with_too_many_dead_letters_for_a_page_says_so(
    operator: Visitor, kill: Kill, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not counted is told, and not touched; no page takes longer for it."""
    monkeypatch.setattr("worker.dashboard.grouping.MAX_READ", 4)
    pipeline = kill([f"n{at}" for at in range(6)])
    words = readable(operator.get("/dead-letters").text)
    assert "516 4" in words
    assert "2 more are there" in words
    cause = the_cause(operator)
    assert "2 more were not looked at" in operator.get(cause).text
    assert operator.send(cause, action="purge").headers["location"].endswith("n=4")
    assert pipeline.status().kinds[Kind.PROFILE].dead == 2


def test_of_a_code_with_a_text_for_each_record_there_is_one_line_that_opens(
    operator: Visitor, redis_client: redis.Redis, kill: Kill
) -> None:
    """A vendor that quotes a name in each text makes no list that nobody can read or send back."""
    kill(["a"], 515)
    for at in range(60):
        body = b'{"type":"profile","identity":"a%d","profileData":{}}' % at
        told: Any = {"record": pack(f"{at + 1:032x}", "", "", body), "reason": "refused"}
        text = "no person 0" if at < 3 else f"no person {at}"
        told |= {"code": 516, "error": text, "attempts": 1}
        redis_client.xadd(keys.dead("clevertap", Kind.PROFILE), told)
    redis_client.hincrby(keys.counters("clevertap"), "profile:accepted", 60)
    page = operator.get("/dead-letters").text
    assert len(links(page, "/dead-letters/")) == 2
    assert "Many different texts or events Refused by the vendor clevertap profile 516 60" in (
        readable(page)
    )
    many = links(page, "/dead-letters/")[0]
    opened = operator.get(many).text
    assert "60 profiles died" in opened
    assert "page 1 of 3" in readable(opened)
    alone = links(opened, "/dead-letters/clevertap")
    assert "3 profiles died: no person 0" in operator.get(alone[0]).text
    assert operator.send(alone[0], action="purge").headers["location"].endswith("n=3")
    assert operator.send(many, action="replay").headers["location"].endswith("n=57")
    (left,) = links(operator.get("/dead-letters").text, "/dead-letters/")
    assert "1 profile died" in operator.get(left).text


def test_what_the_grouping_itself_put_together_opens_too(
    operator: Visitor, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the groups that memory is spent on, one of the texts may be alone in its line."""
    monkeypatch.setattr("worker.dead_letters.groups.group_letters.__defaults__", (1,))
    for at, code in enumerate((515, 516, 516)):
        body = b'{"type":"profile","identity":"a%d","profileData":{}}' % at
        told: Any = {"record": pack(f"{at + 1:032x}", "", "", body), "reason": "refused"}
        told |= {"code": code, "error": f"no {at}", "attempts": 1}
        redis_client.xadd(keys.dead("clevertap", Kind.PROFILE), told)
    found = links(operator.get("/dead-letters").text, "/dead-letters/")
    assert sorted(operator.get(each).text.count("/records/") for each in found) == [1, 2]


def test_a_long_text_leaves_room_for_the_others(
    operator: Visitor, redis_client: redis.Redis
) -> None:
    """Lists and headings have its beginning; the whole of it stands where it is read."""
    text, event = "t" * 900 + "END", "e" * 900 + "END"
    stored = pack(f"{1:032x}", "20260101", event, orjson.dumps({"type": "event"}))
    told: Any = {"record": stored, "reason": "refused", "code": 513, "error": text, "attempts": 1}
    redis_client.xadd(keys.dead("clevertap", "event"), told)
    assert "END" not in operator.get("/dead-letters").text
    page = operator.get(the_cause(operator)).text
    assert text not in page.partition("<h1>")[2].partition("</h1>")[0]
    assert (page.count(text), page.count(event)) == (1, 1)


def test_what_a_vendor_quotes_of_a_record_is_hidden_until_it_is_shown(
    operator: Visitor, redis_client: redis.Redis
) -> None:
    """Texts stand in lists and titles: addresses and numbers in them are hidden, and one cause."""
    for at in (1, 2):
        body = b'{"type":"profile","identity":"a%d","profileData":{}}' % at
        text = f"jack{at}@shop.example or +42077712345{at} is not valid"
        told: Any = {"record": pack(f"{at:032x}", "", "", body), "reason": "refused"}
        told |= {"code": 515, "error": text, "attempts": 1}
        redis_client.xadd(keys.dead("clevertap", Kind.PROFILE), told)
    where = records(operator)[0]
    for path in ("/dead-letters", the_cause(operator), where):
        assert "••• or ••• is not valid" in operator.get(path).text
        assert "shop.example" not in operator.get(path).text
        assert "77712345" not in operator.get(path).text
    typed = operator.send(where, action="check", record='{"type":"profile"}').text
    assert "shop.example" not in typed
    assert "jack1@shop.example or +420777123451" in operator.send(where, action="show").text


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("card 4111 1111 1111 1111", "card •••"),
        ("(415) 555-1234 is no number", "••• is no number"),
        ("0777 123 456, 415.555.1234", "•••, •••"),
        ("since 2026-11-28 10:54:03", "since 2026-11-28 10:54:03"),
        ("512 characters, at most 120 of 1000", "512 characters, at most 120 of 1000"),
    ],
)
def test_numbers_in_groups_are_hidden_too(said: str, shown: str) -> None:
    """Telephones and cards are written so; dates, limits and codes stay."""
    assert masked_text(said) == shown


def test_an_event_that_is_named_after_somebody_is_hidden_until_it_is_shown(
    operator: Visitor, redis_client: redis.Redis
) -> None:
    """Its name stands in lists and titles; what differs in it alone is one cause."""
    for at in (1, 2):
        name = f"Invited jack{at}@shop.example"
        body = {"type": "event", "identity": "a", "evtName": name, "evtData": {}}
        stored = pack(f"{at:032x}", "20260101", name, orjson.dumps(body))
        told: Any = {"record": stored, "reason": "refused", "code": 513, "error": "No."}
        redis_client.xadd(keys.dead("clevertap", "event"), {**told, "attempts": 1})
    where = records(operator)[0]
    for path in ("/dead-letters", the_cause(operator), where):
        assert "Invited •••" in operator.get(path).text
        assert "shop.example" not in operator.get(path).text
    assert "Invited jack1@shop.example" in readable(operator.send(where, action="show").text)


@pytest.mark.parametrize(
    "path",
    [
        "/dead-letters/",
        "/dead-letters/clevertap/event",
        "/records/x/",
        "/destinations/",
        "/audit/1",
    ],
)
def test_an_address_that_was_cut_off_is_told_to_a_person(
    operator: Visitor, visitor_of: VisitorFactory, path: str
) -> None:
    """A page with the menu, to those signed in; the sign-in to others."""
    page = operator.get(path)
    assert (page.status_code, "Not found" in page.text, "Audit" in page.text) == (404, True, True)
    assert visitor_of().get(path).headers["location"] == f"/login?next={path}"


def test_every_moment_is_told_with_its_zone(operator: Visitor, kill: Kill) -> None:
    """Operators sit in other places than servers."""
    kill(["a"])
    operator.send("/destinations/clevertap", action="pause")
    (where,) = records(operator)
    for path in ("/destinations/clevertap", "/dead-letters", the_cause(operator), where, "/audit"):
        page = operator.get(path).text
        found = re.findall(r"\d\d:\d\d:\d\d(.{4})", page)
        assert set(found) == {" UTC"}, path


@pytest.mark.parametrize("name", [b"\xff", b"<b>", b"a/../b", b""])
def test_keys_that_are_none_of_ours_trouble_no_page(
    operator: Visitor, redis_client: redis.Redis, name: bytes
) -> None:
    """Redis may be shared: what cannot be a destination's name is not shown as one."""
    redis_client.hset(b"ingest:{" + name + b"}:counters", "event:accepted", "1")
    for path in ("/", "/dead-letters"):
        page = operator.get(path)
        assert page.status_code == 200
        assert "<b>" not in page.text
        assert links(page.text, "/destinations/") == ["/destinations/clevertap"][: path == "/"]


def test_a_full_redis_can_be_made_room_in(
    visitor_of: VisitorFactory, redis_factory: RedisFactory
) -> None:
    """That is when somebody has to: sign in, pause, purge, sign out, and it is all written down."""
    server = redis_factory()
    visitor = visitor_of(REDIS_URL=server.url)
    client = redis.Redis.from_url(server.url)
    assert visitor.sign_in().status_code == 303
    told: Any = {"record": stored_profile("a"), "reason": "refused", "code": 516, "error": "No."}
    client.xadd(keys.dead("clevertap", Kind.PROFILE), {**told, "attempts": 1})
    client.hincrby(keys.counters("clevertap"), "profile:accepted", 1)
    client.config_set("maxmemory", "1")
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        client.set("x", "y")
    assert visitor.send("/logout", seen="/audit").status_code == 303
    assert visitor.sign_in("operator", "wrong").status_code == 401
    assert visitor.sign_in().status_code == 303
    assert visitor.send("/destinations/clevertap", action="pause").status_code == 303
    assert client.hget(keys.state("clevertap"), "status") == b"paused"
    assert visitor.send(the_cause(visitor), action="purge").headers["location"].endswith("n=1")
    actions = [action for _, action, _ in deeds(client)]
    assert actions == ["purged", "paused", "signed in", "signed out", "signed in"]
    client.close()


def test_it_works_on_a_cluster(visitor_of: VisitorFactory, redis_cluster: RedisCluster) -> None:
    """Sign in, look, pause, purge, sign out: whichever nodes the keys are on."""
    visitor = visitor_of(REDIS_URL=redis_cluster.url)
    assert visitor.sign_in("operator", "wrong").status_code == 401
    assert visitor.sign_in().status_code == 303
    with operator_client(redis_cluster.url) as client:
        told: Any = {"record": stored_profile("a"), "reason": "refused", "code": 516, "error": "No"}
        client.xadd(keys.dead("clevertap", Kind.PROFILE), {**told, "attempts": 1})
        client.hincrby(keys.counters("clevertap"), "profile:accepted", 1)
    assert visitor.send("/destinations/clevertap", action="pause").status_code == 303
    assert visitor.send(the_cause(visitor), action="purge").headers["location"].endswith("n=1")
    assert [visitor.get(path).status_code for path in ("/", "/dead-letters")] == [200, 200]
    words = readable(visitor.get("/audit").text)
    assert all(deed in words for deed in ("signed in", "paused", "purged"))
    assert "began to" not in words.partition("Records")[2]
    assert visitor.send("/logout", seen="/audit").status_code == 303


def test_a_redis_without_room_for_the_first_visit_says_so(
    visitor_of: VisitorFactory, redis_factory: RedisFactory
) -> None:
    """Where nobody ever signed in there is no secret, and nothing to purge through it."""
    server = redis_factory()
    client = redis.Redis.from_url(server.url)
    client.config_set("maxmemory", "1")
    answer = visitor_of(REDIS_URL=server.url).get("/login")
    assert (answer.status_code, "Redis is full" in answer.text) == (503, True)
    client.close()


def test_a_redis_that_ends_in_the_middle_of_a_deed_is_told_as_that(
    visitor_of: VisitorFactory, redis_factory: RedisFactory
) -> None:
    """Nobody presses again, or relies on it, without having looked what was done."""
    server = redis_factory()
    visitor = visitor_of(REDIS_URL=server.url)
    assert visitor.sign_in().status_code == 303
    token = visitor.token("/")
    server.kill()
    page = visitor.post("/destinations/clevertap", {"token": token, "action": "pause"})
    assert (page.status_code, "may be done, in part or not at all" in page.text) == (503, True)
    assert "in part" not in visitor.get("/").text


def test_a_full_redis_is_shown_with_the_flow(
    operator: Visitor, redis_client: redis.Redis, kill: Kill
) -> None:
    """Producers are refused then: nobody should have to guess why nothing comes in."""
    kill(["a"])
    redis_client.hset(keys.state("clevertap"), "memory_full", "1")
    for path in ("/", "/destinations/clevertap"):
        assert "Redis is full. Producers are refused" in readable(operator.get(path).text)


def test_the_audit_keeps_a_thousand_deeds(redis_client: redis.Redis) -> None:
    """It never grows beyond that."""
    audit = AuditLog(redis_client)
    for at in range(KEPT + 5):
        audit.append(AuditEntry("eva", "purged", "clevertap", "event", at))
    assert [deed.count for deed in audit.latest(2)] == [KEPT + 4, KEPT + 3]
    assert len(list(audit.latest(5000))) == KEPT


def test_a_redis_that_is_away_is_told(
    visitor_of: VisitorFactory, redis_factory: RedisFactory
) -> None:
    """A page says so, with the status that balancers understand; the gateway lives on."""
    server = redis_factory()
    visitor = visitor_of(REDIS_URL=server.url)
    assert visitor.sign_in().status_code == 303
    server.kill()
    answer = visitor.get("/")
    assert answer.status_code == 503
    assert "Redis does not answer" in answer.text
    assert visitor.get("/healthz").status_code == 200


def test_a_redis_that_hangs_is_told_while_a_person_still_waits(
    visitor_of: VisitorFactory, redis_factory: RedisFactory
) -> None:
    """It takes connections and says nothing: that is told in seconds, not in half a minute."""
    server = redis_factory()
    visitor = visitor_of(REDIS_URL=server.url)
    assert visitor.sign_in().status_code == 303
    assert server.pid
    os.kill(server.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        answer = visitor.get("/")
        assert time.monotonic() - began < 10
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert "Redis does not answer" in answer.text


def test_who_hangs_up_in_the_middle_of_a_form_fills_no_log(
    redis_url: str, start_gateway: GatewayProcessFactory
) -> None:
    """Anybody can: it is no failure of ours, and no traceback."""
    served = start_gateway(
        redis_url, INGEST_DASHBOARD_PASSWORD="x", INGEST_GATEWAY_ACCESS_LOG="all"
    )
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.sendall(b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nuser=")
    output = served.process.wait_for("route=/login")
    assert "Traceback" not in output


def test_a_form_that_does_not_come_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch, visitor: Visitor
) -> None:
    """A stranger holds nothing of ours by sending half of one."""
    monkeypatch.setattr("worker.dashboard.endpoint.MAX_FORM_S", 0.1)

    async def half() -> AsyncIterator[bytes]:
        yield b"user="
        await asyncio.sleep(30)

    assert visitor.ask("POST", "/login", content=half()).status_code == 408


def test_pages_of_a_cause_hold_each_record_once(operator: Visitor, kill: Kill) -> None:
    """Turning the pages shows all of them."""
    pipeline = kill([f"n{at}" for at in range(60)])
    cause = the_cause(operator)
    shown = [
        link
        for at in (1, 2, 3)
        for link in links(operator.get(f"{cause}?page={at}").text, "/records/")
    ]
    destination = Destination(
        name="clevertap", account=CleverTapAccount(), kinds={Kind.PROFILE: KindSettings(100, 8)}
    )
    letters = DeadLetters(pipeline.client, destination).select()
    assert shown == [f"/records/clevertap/{letter.id}" for letter in letters]
    assert links(operator.get(f"{cause}?page=2").text, f"{cause}?page=") == [
        f"{cause}?page={at}" for at in (1, 3)
    ]
    assert 'name="page"' in operator.get(cause).text
    assert operator.get(f"{cause}?page=-1").status_code == 200
    assert operator.get(f"{cause}?page=999").status_code == 200


def test_a_form_that_is_too_large_is_refused(operator: Visitor) -> None:
    """Nobody fills the gateway's memory through a form."""
    answer = operator.post("/destinations/clevertap", {"reason": "x" * 4_000_000})
    assert answer.status_code == 413


def test_a_stranger_cannot_have_a_large_form_kept(visitor: Visitor) -> None:
    """What a thousand of them may hold of our memory is little: of more than 16 KB none is read."""
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        yield b"reason="
        for _ in range(40):
            read += 1
            yield b"x" * 4096

    where = "/destinations/clevertap"
    answer = visitor.ask("POST", where, content=endless())
    assert answer.headers["location"] == f"/login?ended=1&next={where}"
    assert visitor.ask("POST", "/login", content=endless()).status_code == 403
    assert read < 10
    visitor.sign_in()
    read = 0
    assert visitor.ask("POST", where, content=endless()).status_code == 403  # it has no token
    assert read == 40
