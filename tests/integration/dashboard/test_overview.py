"""The overview and a destination's page against a real Redis: numbers, states, pause, resume."""

from __future__ import annotations

import time

import pytest
import redis

from support.pages import (
    DESTINATION_PAGE,
    RefuseProfiles,
    Visitor,
    audit_actions,
    facts,
    field,
    links,
    rows,
    text_of,
)
from worker.buffer import keys


def test_overview_with_records_shows_the_numbers_of_ingest_status(
    operator: Visitor, refuse_profiles: RefuseProfiles
) -> None:
    """Accepted, delivered, waiting and dead records, and that no worker delivers in this test."""
    pipeline = refuse_profiles(["a", "b"])
    pipeline.accept_profiles(["c", "d", "e"])
    pipeline.deliver()
    pipeline.accept_profiles(["f"])
    page = operator.get("/").text
    found = facts(page)
    assert (found["Accepted"], found["Delivered"], found["Dead"]) == ("6", "3", "2")
    assert found["Waiting"].split()[0] == "1"
    assert "clevertap running" in text_of(page)
    assert "No worker is delivering" in page


def test_destination_page_shows_kinds_responses_codes_and_latest_requests(
    operator: Visitor, refuse_profiles: RefuseProfiles
) -> None:
    """Numbers by kind, requests by status, failures by code, and the latest requests."""
    refuse_profiles(["a", "b"])
    page = operator.get(DESTINATION_PAGE).text
    (profile,) = (row for row in rows(page, "Kind", "Accepted") if row["Kind"] == "profile")
    zeros = dict.fromkeys(("Delivered", "Buffered", "In flight", "Retrying", "Purged"), "0")
    assert profile == {"Kind": "profile", "Accepted": "2", "Dead": "2", "Oldest": "\u2013", **zeros}
    assert rows(page, "Requests in total") == [{"Response": "HTTP 200", "Requests in total": "1"}]
    assert rows(page, "Code or reason") == [
        {"Code or reason": "516", "Kind": "profile", "Records in total": "2"}
    ]
    (request,) = rows(page, "Retry")
    del request["When"]
    expected = {"Kind": "profile", "Status": "200", "Delivered": "0", "Dead": "2", "Retry": "0"}
    assert request == expected


def test_overview_during_a_back_off_says_when_it_retries_and_why(
    operator: Visitor, redis_client: redis.Redis
) -> None:
    """It is running and sends nothing: the pages explain why records wait."""
    redis_client.hset(keys.state("clevertap"), "open_at", str(int(time.time() * 1000) + 600_000))
    for path in ("/", DESTINATION_PAGE):
        assert "the vendor failed or asked to wait" in operator.get(path).text
    for answer in ("503", ""):  # the last batch was not sent at all
        redis_client.xadd(keys.journal("clevertap"), {"answer": answer})
    for path in ("/", DESTINATION_PAGE):
        text = text_of(operator.get(path).text)
        assert "Retrying in 59" in text
        assert "the vendor answers 503." in text


def test_destination_page_of_one_that_cannot_deliver_says_what_is_missing(
    operator: Visitor, redis_client: redis.Redis
) -> None:
    """Without credentials, or without a place in the settings, it is not shown as running."""
    for name in ("gone", "bloomreach"):
        redis_client.hincrby(keys.counters(name), "event:accepted", 1)
    for name, note in (("gone", "Not configured here."), ("bloomreach", "Not enabled here.")):
        text = text_of(operator.get(f"/destinations/{name}").text)
        assert f"{name} off " in text
        assert note in text
    operator.send("/destinations/gone", action="pause")
    assert "gone paused" in text_of(operator.get("/destinations/gone").text)


def test_pause_and_resume_are_carried_out_and_audited(
    operator: Visitor, redis_client: redis.Redis
) -> None:
    """They do what the commands do, and show the reason and the user."""
    paused = operator.send(DESTINATION_PAGE, action="pause", reason="vendor's maintenance")
    assert paused.status_code == 303
    assert "vendor's maintenance" in text_of(operator.get("/").text)
    assert operator.send(DESTINATION_PAGE, action="resume").status_code == 303
    assert "running" in text_of(operator.get(DESTINATION_PAGE).text)
    assert audit_actions(redis_client)[:2] == [
        ("operator", "resumed", 0),
        ("operator", "paused", 0),
    ]
    entries = rows(operator.get("/audit").text, "Action", "Target")
    assert "vendor's maintenance" in {entry["Target"] for entry in entries}


def test_second_pause_has_no_effect_and_is_audited_as_such(
    operator: Visitor, colleague: Visitor, redis_client: redis.Redis
) -> None:
    """The first pause holds, with its reason; the audit log shows which one had no effect."""
    operator.send(DESTINATION_PAGE, action="pause", reason="first")
    colleague.send(DESTINATION_PAGE, action="pause", reason="second")
    assert "first" in colleague.get(DESTINATION_PAGE).text
    assert "second" not in colleague.get(DESTINATION_PAGE).text
    assert [each[1:] for each in audit_actions(redis_client)][:2] == [
        ("pressed pause, but it was already paused", 0),
        ("paused", 0),
    ]


def test_resume_of_a_pause_that_the_page_did_not_show_is_refused(
    operator: Visitor, colleague: Visitor, redis_client: redis.Redis
) -> None:
    """The later pause may have a reason that the operator has not read."""
    operator.send(DESTINATION_PAGE, action="pause", reason="first")
    page = operator.get(DESTINATION_PAGE).text
    form = {"token": field(page, "token"), "since": field(page, "since"), "action": "resume"}
    colleague.send(DESTINATION_PAGE, action="resume")
    colleague.send(DESTINATION_PAGE, action="pause", reason="maintenance")
    response = operator.post(DESTINATION_PAGE, form)
    assert (response.status_code, "Nothing was done" in response.text) == (409, True)
    assert redis_client.hget(keys.state("clevertap"), "status") == b"paused"
    form["since"] = field(operator.get(DESTINATION_PAGE).text, "since")
    assert operator.post(DESTINATION_PAGE, form).status_code == 303
    assert redis_client.hget(keys.state("clevertap"), "status") == b"running"


def test_pages_of_a_full_redis_say_that_producers_are_refused(
    operator: Visitor, redis_client: redis.Redis, refuse_profiles: RefuseProfiles
) -> None:
    """Operators see why nothing comes in."""
    refuse_profiles(["a"])
    redis_client.hset(keys.state("clevertap"), "memory_full", "1")
    for path in ("/", DESTINATION_PAGE):
        assert "Redis is full. Producers are refused" in text_of(operator.get(path).text)


@pytest.mark.parametrize("name", [b"\xff", b"<b>", b"a/../b", b""])
def test_overview_skips_keys_that_are_not_a_destinations(
    operator: Visitor, redis_client: redis.Redis, name: bytes
) -> None:
    """Redis may be shared: what cannot be a destination's name is not shown as one."""
    redis_client.hset(b"ingest:{" + name + b"}:counters", "event:accepted", "1")
    for path in ("/", "/dead-letters"):
        page = operator.get(path)
        assert page.status_code == 200
        assert "<b>" not in page.text
        assert links(page.text, "/destinations/") == [DESTINATION_PAGE][: path == "/"]
