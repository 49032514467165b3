"""The page of one dead letter, against a real Redis and a vendor on loopback."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any

import orjson
import pytest
import redis

from support.pages import (
    RefuseProfiles,
    Visitor,
    add_dead_letter,
    audit_actions,
    field,
    group_path,
    profile_bytes,
    record_paths,
    text_of,
)
from support.pipeline import stored_profile
from support.vendor import LoopbackVendor
from worker.buffer import keys
from worker.buffer.records import pack
from worker.dashboard.grouping import single_letter
from worker.dead_letters.letters import DeadLetters
from worker.dead_letters.replay import Replayer
from worker.settings.destination import Destination, KindSettings
from worker.vendors.clevertap.account import CleverTapAccount
from worker.vendors.clevertap.rules import BAD_AGE, BAD_PHONE
from worker.vendors.protocol import Kind

PROFILES = Destination(
    name="clevertap", account=CleverTapAccount(), kinds={Kind.PROFILE: KindSettings(100, 8)}
)
DEAD = keys.dead("clevertap", Kind.PROFILE)


def pending(client: redis.Redis) -> list[bytes]:
    """Return the records that were put back."""
    queues = [keys.pending("clevertap", Kind.PROFILE, partition) for partition in range(8)]
    found: Any = [client.lrange(queue, 0, -1) for queue in queues]
    return [stored for queue in found for stored in queue]


def form_of(visitor: Visitor, path: str, **fields: str) -> dict[str, str]:
    """Return a page's form with these fields, to be sent later."""
    html = visitor.get(path).text
    return {"token": field(html, "token"), "entry": field(html, "entry"), **fields}


def test_values_are_hidden_until_shown_and_showing_is_audited(
    operator: Visitor, redis_client: redis.Redis, refuse_profiles: RefuseProfiles
) -> None:
    """Only the page that the audit log records has personal data."""
    refuse_profiles(["secret-person"])
    (where,) = record_paths(operator)
    for path in ("/", "/dead-letters", group_path(operator), where, "/audit"):
        assert "secret-person" not in operator.get(path).text
    assert "13 characters" in operator.get(where).text
    shown = operator.send(where, action="show")
    assert "secret-person" in shown.text
    assert shown.headers["cache-control"] == "no-store"
    assert audit_actions(redis_client)[0] == ("operator", "saw the record", 1)
    assert "secret-person" not in operator.get("/audit").text


@pytest.mark.parametrize("action", ["check", "vendor", "nonsense", ""])
def test_actions_other_than_show_reveal_no_value(
    operator: Visitor, refuse_profiles: RefuseProfiles, action: str
) -> None:
    """A form without a text checks the stored record and hides its values."""
    refuse_profiles(["secret-person"])
    (where,) = record_paths(operator)
    assert "secret-person" not in operator.send(where, action=action).text


def test_broken_rules_are_marked_at_their_lines_and_nothing_is_replayed(
    operator: Visitor, refuse_profiles: RefuseProfiles
) -> None:
    """The schema's errors appear at their fields, and the text that was typed is kept."""
    pipeline = refuse_profiles(["a"])
    (where,) = record_paths(operator)
    edited = {"identity": "a", "type": "profile", "profileData": {"Phone": "1", "Age": "x"}}
    for action in ("check", "vendor", "replay"):
        page = operator.send(where, action=action, record=json.dumps(edited)).text
        assert "2 rules are broken" in text_of(page)
        marked = re.findall(r'<li class="wrong">(.*?)</li>', page)
        assert [text_of(each) for each in marked] == [
            f'"Phone": "1", {BAD_PHONE}',
            f'"Age": "x" {BAD_AGE}',
        ]
        assert json.dumps(edited) in unescape(page)
    assert pipeline.status().kinds[Kind.PROFILE].dead == 1


@pytest.mark.parametrize("text", ["", "{", "null", '{"type": "event"}', "[" * 100_000])
def test_replay_of_a_text_that_is_not_such_a_record_is_refused(
    operator: Visitor, refuse_profiles: RefuseProfiles, text: str
) -> None:
    """The page says what is wrong, and the record stays dead."""
    pipeline = refuse_profiles(["a"])
    (where,) = record_paths(operator)
    page = operator.send(where, action="replay", record=text)
    assert page.status_code == 200
    assert re.search("(is|are) broken", text_of(page.text))
    assert pipeline.status().kinds[Kind.PROFILE].dead == 1


def test_replay_of_an_edited_record_sends_it_under_its_id(
    operator: Visitor,
    redis_client: redis.Redis,
    refuse_profiles: RefuseProfiles,
    vendor: LoopbackVendor,
) -> None:
    """The vendor gets what was typed; it counts as one replayed record."""
    pipeline = refuse_profiles(["a"])
    (where,) = record_paths(operator)
    edited = {"identity": "b", "type": "profile", "profileData": {"Name": "Ürsula\n"}}
    response = operator.send(where, action="replay", record=json.dumps(edited, indent=3))
    assert response.headers["location"] == "/dead-letters?done=replayed&n=1"
    assert "1 dead letter replayed" in text_of(operator.get(response.headers["location"]).text)
    pipeline.deliver()
    assert vendor.taken == {"b": 1}
    counts = pipeline.status().kinds[Kind.PROFILE]
    assert (counts.dead, counts.totals["replayed"], counts.totals["delivered"]) == (0, 1, 1)
    assert audit_actions(redis_client)[0] == ("operator", "replayed, edited", 1)


def test_replay_of_a_shown_record_keeps_every_byte(
    operator: Visitor, redis_client: redis.Redis
) -> None:
    """Showing and replaying changes nothing, even where JSON could be written differently."""
    body = b'{"type":"profile","identity":"a","profileData":{"N":1.0,"T":"a\\r\\nb \\u00fc"}}'
    stored = pack(f"{1:032x}", "", "", body)
    add_dead_letter(redis_client, stored, error="No")
    (where,) = record_paths(operator)
    shown = operator.send(where, action="show").text
    typed = unescape(
        shown.partition("<textarea")[2].partition(">\n")[2].partition("</textarea>")[0]
    )
    operator.send(where, action="replay", record=typed.replace("\n", "\r\n"))
    assert pending(redis_client) == [stored]


def test_purge_of_one_record_leaves_the_others_of_its_group(
    operator: Visitor, redis_client: redis.Redis, refuse_profiles: RefuseProfiles
) -> None:
    """Only the record of the page is purged."""
    pipeline = refuse_profiles(["a", "b"])
    where = record_paths(operator)[0]
    assert operator.send(where, action="purge").status_code == 303
    assert pipeline.status().kinds[Kind.PROFILE].dead == 1
    assert operator.get(where).status_code == 404
    assert audit_actions(redis_client)[0] == ("operator", "purged", 1)


def test_bloomreach_record_is_shown_edited_and_replayed_without_a_dry_run(
    operator: Visitor, redis_client: redis.Redis
) -> None:
    """The other vendor's shape and rules apply; the page says that it has no dry run."""
    body = {"customer_ids": {"registered": "person-7"}, "event_type": "viewed", "properties": {}}
    stored = pack(f"{1:032x}", "20260101", "viewed", orjson.dumps(body))
    add_dead_letter(redis_client, stored, destination="bloomreach", kind="event", code="")
    (where,) = record_paths(operator)
    hidden = operator.get(where).text
    assert "Check with the vendor" not in hidden
    assert "has no dry run" in operator.get(group_path(operator)).text
    assert "person-7" not in hidden
    assert "viewed" in hidden
    assert "person-7" in operator.send(where, action="show").text
    wrong = {**body, "customer_ids": {}}
    page = operator.send(where, action="check", record=json.dumps(wrong)).text
    assert "1 rule is broken" in text_of(page)
    assert "not enabled" in operator.send(where, action="vendor").text
    edited = json.dumps({**body, "event_type": "seen"})
    assert operator.send(where, action="replay", record=edited).status_code == 303
    found: Any = redis_client.lindex(keys.pending("bloomreach", "event"), 0)
    assert b'"event_type":"seen"' in found
    assert found.startswith(f"{1:032x} ".encode())


def test_second_of_two_edits_of_a_record_does_nothing(
    operator: Visitor, colleague: Visitor, redis_client: redis.Redis
) -> None:
    """The first edit is sent; the second one leaves no entry in the audit log."""
    add_dead_letter(redis_client, profile_bytes(1))
    (where,) = record_paths(operator)
    forms = [
        form_of(
            each,
            where,
            action="replay",
            record=json.dumps({"type": "profile", "identity": "x", "profileData": {"Name": name}}),
        )
        for each, name in ((operator, "A"), (colleague, "B"))
    ]
    assert operator.post(where, forms[0]).status_code == 303
    late = colleague.post(where, forms[1])
    assert late.status_code == 404
    assert "replayed or purged meanwhile" in late.text
    assert len(pending(redis_client)) == 1
    actions = [each for each in audit_actions(redis_client) if each[1] != "signed in"]
    assert actions == [("operator", "replayed, edited", 1)]


@pytest.mark.parametrize("action", ["replay", "purge", "show"])
def test_action_on_a_record_that_failed_again_meanwhile_does_nothing(
    operator: Visitor, redis_client: redis.Redis, action: str
) -> None:
    """It may have other content and another reason by now, which the page did not show."""
    stored = stored_profile("jack")
    add_dead_letter(redis_client, stored)
    (where,) = record_paths(operator)
    form = form_of(operator, where, action=action)
    redis_client.delete(DEAD)
    add_dead_letter(redis_client, stored, code=515, error="Something else.")
    page = operator.post(where, form)
    assert "Nothing was done" in page.text
    assert "Something else." in page.text
    assert "jack" not in page.text
    assert redis_client.xlen(DEAD) == 1
    assert [each[1] for each in audit_actions(redis_client)] == ["signed in"]


def test_single_letter_does_not_touch_a_later_failure_of_its_record(
    redis_client: redis.Redis,
) -> None:
    """However soon the record fails again after the page was read."""
    letters = DeadLetters(redis_client, PROFILES)
    stored = stored_profile("jack")
    add_dead_letter(redis_client, stored)
    (seen,) = letters.select()
    redis_client.xdel(DEAD, seen.entry)
    add_dead_letter(redis_client, stored, code=515)
    single = single_letter(letters, seen)
    assert (single.purge(), Replayer(redis_client, PROFILES).replay(single, print)) == (0, 0)
    assert redis_client.xlen(DEAD) == 1
