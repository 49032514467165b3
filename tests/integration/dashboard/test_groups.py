"""The list of dead letters' groups, against a real Redis."""

from __future__ import annotations

import orjson
import pytest
import redis

from support.pages import (
    RefuseProfiles,
    Visitor,
    add_dead_letter,
    group_path,
    heading,
    links,
    profile_bytes,
    record_paths,
    rows,
    text_of,
)
from worker.buffer.records import pack
from worker.vendors.protocol import Kind


def test_groups_page_has_a_row_for_each_code_the_largest_first(
    operator: Visitor, refuse_profiles: RefuseProfiles
) -> None:
    """The positions in the vendor's texts make no difference."""
    refuse_profiles(["a", "b", "c"], 516)
    refuse_profiles(["d"], 515)
    page = operator.get("/dead-letters").text
    found = [(row["Kind"], row["Code"], row["Records"]) for row in rows(page, "Reason")]
    assert found == [("profile", "516", "3"), ("profile", "515", "1")]
    assert len(links(page, "/dead-letters/")) == 2


def test_groups_page_of_more_than_it_reads_says_so_and_leaves_the_rest_alone(
    operator: Visitor, refuse_profiles: RefuseProfiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not counted is mentioned and not touched, so no page takes long."""
    monkeypatch.setattr("worker.dashboard.grouping.MAX_READ", 4)
    pipeline = refuse_profiles([f"n{at}" for at in range(6)])
    page = operator.get("/dead-letters").text
    (row,) = rows(page, "Reason")
    assert (row["Code"], row["Records"]) == ("516", "4")
    assert "there are 2 more" in page
    group = group_path(operator)
    assert "2 more were not" in operator.get(group).text
    assert operator.send(group, action="purge").headers["location"].endswith("n=4")
    assert pipeline.status().kinds[Kind.PROFILE].dead == 2


def test_code_with_a_text_for_each_record_is_one_row_that_opens(
    operator: Visitor, redis_client: redis.Redis, refuse_profiles: RefuseProfiles
) -> None:
    """A vendor that quotes a name in each text does not make an endless list."""
    refuse_profiles(["a"], 515)
    for at in range(60):
        text = "no person 0" if at < 3 else f"no person {at}"
        add_dead_letter(redis_client, profile_bytes(at + 1), error=text)
    page = operator.get("/dead-letters").text
    first, second = rows(page, "Reason")
    del first["Last failed"]
    assert first == {
        "Reason": "Many different texts or events Refused by the vendor",
        "Destination": "clevertap",
        "Kind": "profile",
        "Code": "516",
        "Records": "60",
    }
    assert second["Code"] == "515"
    many = links(page, "/dead-letters/")[0]
    opened = operator.get(many).text
    assert heading(opened).startswith("60 profiles failed")
    assert "page 1 of 3" in text_of(opened)
    alone = links(opened, "/dead-letters/clevertap")
    assert heading(operator.get(alone[0]).text) == "3 profiles failed: no person 0"
    assert operator.send(alone[0], action="purge").headers["location"].endswith("n=3")
    assert operator.send(many, action="replay").headers["location"].endswith("n=57")
    (left,) = links(operator.get("/dead-letters").text, "/dead-letters/")
    assert heading(operator.get(left).text).startswith("1 profile failed")


def test_groups_that_the_grouping_merged_for_memory_open_too(
    operator: Visitor, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the number of groups kept in memory, one text may be alone in its row."""
    monkeypatch.setattr("worker.dead_letters.groups.group_letters.__defaults__", (1,))
    for at, code in enumerate((515, 516, 516)):
        add_dead_letter(redis_client, profile_bytes(at + 1), code=code, error=f"no {at}")
    found = links(operator.get("/dead-letters").text, "/dead-letters/")
    assert sorted(operator.get(each).text.count("/records/") for each in found) == [1, 2]


def test_long_text_is_cut_in_lists_and_shown_in_full_once(
    operator: Visitor, redis_client: redis.Redis
) -> None:
    """Lists and headings show its beginning, the group's page all of it."""
    text, event = "t" * 900 + "END", "e" * 900 + "END"
    stored = pack(f"{1:032x}", "20260101", event, orjson.dumps({"type": "event"}))
    add_dead_letter(redis_client, stored, kind="event", code=513, error=text)
    assert "END" not in operator.get("/dead-letters").text
    page = operator.get(group_path(operator)).text
    assert text not in heading(page)
    assert (page.count(text), page.count(event)) == (1, 1)


def test_personal_data_that_a_vendor_quotes_is_hidden_until_shown(
    operator: Visitor, redis_client: redis.Redis
) -> None:
    """Addresses and numbers in lists and titles are hidden, and do not split a group."""
    for at in (1, 2):
        text = f"jack{at}@shop.example or +42077712345{at} is not valid"
        add_dead_letter(redis_client, profile_bytes(at), code=515, error=text)
    where = record_paths(operator)[0]
    for path in ("/dead-letters", group_path(operator), where):
        assert "••• or ••• is not valid" in operator.get(path).text
        assert "shop.example" not in operator.get(path).text
        assert "77712345" not in operator.get(path).text
    checked = operator.send(where, action="check", record='{"type":"profile"}').text
    assert "shop.example" not in checked
    assert "jack1@shop.example or +420777123451" in operator.send(where, action="show").text


def test_event_named_after_a_person_is_hidden_until_shown(
    operator: Visitor, redis_client: redis.Redis
) -> None:
    """The name is masked in lists and titles, and what differs only there is one group."""
    for at in (1, 2):
        name = f"Invited jack{at}@shop.example"
        body = {"type": "event", "identity": "a", "evtName": name, "evtData": {}}
        stored = pack(f"{at:032x}", "20260101", name, orjson.dumps(body))
        add_dead_letter(redis_client, stored, kind="event", code=513)
    where = record_paths(operator)[0]
    for path in ("/dead-letters", group_path(operator), where):
        assert "Invited •••" in operator.get(path).text
        assert "shop.example" not in operator.get(path).text
    assert "Invited jack1@shop.example" in text_of(operator.send(where, action="show").text)
