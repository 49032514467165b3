"""The page of one group of dead letters, against a real Redis and a vendor on loopback."""

from __future__ import annotations

import re
import threading
import time
from html import unescape

import pytest
import redis

from support.pages import (
    DESTINATION_PAGE,
    RefuseProfiles,
    Visitor,
    add_dead_letter,
    audit_actions,
    facts,
    field,
    group_path,
    heading,
    links,
    profile_bytes,
    record_paths,
    text_of,
)
from support.pipeline import PipelineFactory, stored_profile
from support.vendor import LoopbackVendor
from worker.buffer import keys
from worker.buffer.records import pack
from worker.dead_letters.letters import DeadLetters
from worker.settings.destination import Destination, KindSettings
from worker.vendors.clevertap.account import CleverTapAccount
from worker.vendors.protocol import Kind

WITHOUT_IDENTITY = b'{"type":"profile","profileData":{}}'


def test_replay_of_a_group_delivers_all_of_it(
    operator: Visitor,
    redis_client: redis.Redis,
    refuse_profiles: RefuseProfiles,
    vendor: LoopbackVendor,
) -> None:
    """One button re-enqueues them all; the audit log has the count."""
    names = [f"n{at}" for at in range(60)]
    pipeline = refuse_profiles(names)
    response = operator.send(group_path(operator), action="replay")
    assert response.headers["location"] == "/dead-letters?done=replayed&n=60"
    pipeline.deliver()
    assert set(vendor.taken) == set(names)
    assert audit_actions(redis_client)[0] == ("operator", "replayed", 60)
    assert "None" in text_of(operator.get("/dead-letters").text)


def test_group_of_one_is_described_in_the_singular(
    operator: Visitor, refuse_profiles: RefuseProfiles
) -> None:
    """A group may have a single record."""
    refuse_profiles(["a"])
    page = operator.get(group_path(operator)).text
    text = text_of(page)
    assert heading(page).startswith("1 profile failed")
    assert "Replay it" in text
    assert "Purge it" in text
    assert not re.search(r"all 1\b|\bthem\b|1 records", text, re.IGNORECASE)
    assert {"First failed", "Last failed"} <= facts(page).keys()


def test_pages_of_a_paused_destination_warn_before_a_replay(
    operator: Visitor, refuse_profiles: RefuseProfiles
) -> None:
    """Many dead letters pause a destination: replayed records would wait without explanation."""
    refuse_profiles(["a"])
    (where,) = record_paths(operator)
    warning = "clevertap is paused: replayed records wait"
    for path in (group_path(operator), where):
        assert warning not in text_of(operator.get(path).text)
    operator.send(DESTINATION_PAGE, action="pause")
    for path in (group_path(operator), where):
        assert warning in text_of(operator.get(path).text)


def test_purge_leaves_what_failed_after_the_page_was_made(
    operator: Visitor, redis_client: redis.Redis, refuse_profiles: RefuseProfiles
) -> None:
    """A person purges what the page counted."""
    pipeline = refuse_profiles(["a", "b"])
    group = group_path(operator)
    page = operator.get(group).text
    until = int(field(page, "until"))
    late = pack(f"{2:032x}", "", "", b'{"type":"profile","identity":"z","profileData":{}}')
    add_dead_letter(redis_client, late, entry=f"{until + 1}-0")
    form = {"action": "purge", "until": str(until), "token": field(page, "token")}
    assert operator.post(group, form).headers["location"] == "/dead-letters?done=purged&n=2"
    counts = pipeline.status().kinds[Kind.PROFILE]
    assert (counts.dead, counts.totals["purged"]) == (1, 2)
    assert audit_actions(redis_client)[0] == ("operator", "purged", 2)


def test_purge_of_what_failed_by_a_clock_ahead_works(
    operator: Visitor, redis_client: redis.Redis
) -> None:
    """Redis times the failures, and its clock may differ from the gateway's."""
    ahead_ms = int(time.time() * 1000) + 300_000
    add_dead_letter(redis_client, stored_profile("a"), entry=f"{ahead_ms}-0")
    purged = operator.send(group_path(operator), action="purge")
    assert purged.headers["location"].endswith("n=1")


def test_check_counts_what_would_pass_and_links_the_rest(
    operator: Visitor,
    redis_client: redis.Redis,
    refuse_profiles: RefuseProfiles,
    vendor: LoopbackVendor,
) -> None:
    """A dry run: nothing is sent for good, and what would be refused is linked."""
    pipeline = refuse_profiles(["a", "b", "c"])
    vendor.prescribe("b", always=516)
    page = operator.send(group_path(operator), action="check").text
    assert "2 would pass, 1 would be refused" in text_of(page)
    (refused,) = links(page.partition("Fix before a replay")[2].partition("</ul>")[0], "/records/")
    assert '"b"' in unescape(operator.send(refused, action="show").text)
    assert vendor.taken == {}
    assert pipeline.status().kinds[Kind.PROFILE].dead == 3
    assert ("operator", "checked with the vendor", 3) in audit_actions(redis_client)
    checked = {
        identity: operator.send(
            refused,
            action="vendor",
            record=f'{{"identity":"{identity}","type":"profile","profileData":{{}}}}',
        )
        for identity in ("a", "b")
    }
    assert "The vendor would accept it" in checked["a"].text
    assert "The vendor would refuse it (code 516): No." in unescape(checked["b"].text)


def test_replay_of_what_passes_leaves_the_rest_dead(
    operator: Visitor,
    redis_client: redis.Redis,
    refuse_profiles: RefuseProfiles,
    vendor: LoopbackVendor,
) -> None:
    """The vendor is asked again at the replay, and what it would refuse stays."""
    pipeline = refuse_profiles(["a", "b", "c"])
    vendor.prescribe("b", always=516)
    checked = operator.send(group_path(operator), action="check")
    assert "Replay the 2 that would pass" in checked.text
    replayed = operator.send(group_path(operator), action="replay_passing")
    assert replayed.headers["location"] == "/dead-letters?done=replayed&n=2"
    pipeline.deliver()
    assert set(vendor.taken) == {"a", "c"}
    assert pipeline.status().kinds[Kind.PROFILE].dead == 1
    assert audit_actions(redis_client)[0] == ("operator", "replayed", 2)


def test_check_that_the_vendor_denies_is_reported_and_moves_nothing(
    operator: Visitor, refuse_profiles: RefuseProfiles, vendor: LoopbackVendor
) -> None:
    """401 to a dry run is about the credentials, not about the records."""
    pipeline = refuse_profiles(["a"])
    vendor.whole = lambda _: (401, "Unauthorized")
    text = text_of(operator.send(group_path(operator), action="check").text)
    assert "That did not work." in text
    assert "HTTP 401" in text
    assert pipeline.status().kinds[Kind.PROFILE].dead == 1


def test_check_of_a_silent_vendor_ends_while_a_person_waits(
    operator: Visitor,
    refuse_profiles: RefuseProfiles,
    vendor: LoopbackVendor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A delivery may take half a minute for each try; a page may not."""
    refuse_profiles(["a"])
    monkeypatch.setattr("worker.dashboard.context.DRY_RUN_TIMEOUT_S", 0.1)
    monkeypatch.setattr("worker.delivery.dry_run.WAIT_S", 0.01)
    vendor.usual = lambda exchange: exchange.silence()
    began = time.monotonic()
    page = operator.send(group_path(operator), action="check").text
    assert time.monotonic() - began < 10
    assert "That did not work." in page


def test_group_of_an_unconfigured_destination_can_be_purged_but_not_replayed(
    operator: Visitor, pipeline_of: PipelineFactory, vendor: LoopbackVendor
) -> None:
    """Replayed, its records would wait for ever; hidden, they would be forgotten."""
    pipeline = pipeline_of(name="gone")
    vendor.prescribe("a", 516)
    pipeline.accept_profiles(["a"])
    pipeline.deliver()
    group = group_path(operator)
    assert "not configured" in operator.send(group, action="replay").text
    (where,) = record_paths(operator)
    assert "not configured" in operator.send(where, action="replay").text
    assert pipeline.status().kinds[Kind.PROFILE].dead == 1
    assert operator.send(group, action="purge").status_code == 303
    assert pipeline.status().kinds[Kind.PROFILE].dead == 0


def test_replay_of_a_record_that_breaks_a_rule_is_refused_and_the_others_go(
    operator: Visitor, redis_client: redis.Redis, refuse_profiles: RefuseProfiles
) -> None:
    """Without an identity a record has no place in the order of its kind, so it stays."""
    pipeline = refuse_profiles(["a"])
    add_dead_letter(redis_client, pack(f"{1:032x}", "", "", WITHOUT_IDENTITY))
    page = operator.send(group_path(operator), action="replay")
    assert "Not replayed" in page.text
    assert "identity" in page.text
    assert (pipeline.status().kinds[Kind.PROFILE].dead, pipeline.open) == (1, 1)


def test_replay_lists_the_first_refused_records_and_counts_the_rest(
    operator: Visitor, redis_client: redis.Redis
) -> None:
    """A hundred thousand of them fill neither the page nor the memory."""
    for at in range(53):
        add_dead_letter(redis_client, pack(f"{at + 1:032x}", "", "", WITHOUT_IDENTITY))
    page = operator.send(group_path(operator), action="replay").text
    shown = page.partition("Not replayed")[2].partition("</div>")[0]
    assert len(links(shown, "/records/")) == 50
    assert "And 3 others." in shown


def test_group_pages_together_show_each_record_once(
    operator: Visitor, refuse_profiles: RefuseProfiles
) -> None:
    """Paging through a group shows all of its records in order."""
    pipeline = refuse_profiles([f"n{at}" for at in range(60)])
    group = group_path(operator)
    shown = [
        link
        for at in (1, 2, 3)
        for link in links(operator.get(f"{group}?page={at}").text, "/records/")
    ]
    destination = Destination(
        name="clevertap", account=CleverTapAccount(), kinds={Kind.PROFILE: KindSettings(100, 8)}
    )
    letters = DeadLetters(pipeline.client, destination).select()
    assert shown == [f"/records/clevertap/{letter.id}" for letter in letters]
    assert links(operator.get(f"{group}?page=2").text, f"{group}?page=") == [
        f"{group}?page={at}" for at in (1, 3)
    ]
    assert 'name="page"' in operator.get(group).text
    assert operator.get(f"{group}?page=-1").status_code == 200
    assert operator.get(f"{group}?page=999").status_code == 200


@pytest.mark.parametrize("second", ["replay", "purge"])
def test_concurrent_actions_on_a_group_handle_each_record_once(
    operator: Visitor, colleague: Visitor, redis_client: redis.Redis, second: str
) -> None:
    """The counts of both add up to the number of records, in the totals and in the audit log."""
    with redis_client.pipeline(transaction=False) as together:
        for at in range(3000):
            add_dead_letter(together, profile_bytes(at + 1))
        together.execute()
    group = group_path(operator)
    threads = [
        threading.Thread(target=each.send, args=(group,), kwargs={"action": action})
        for each, action in ((operator, "replay"), (colleague, second))
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    purged = int(redis_client.hget(keys.counters("clevertap"), "profile:purged") or 0)
    pending = sum(
        redis_client.llen(keys.pending("clevertap", Kind.PROFILE, partition))
        for partition in range(8)
    )
    assert pending + purged == 3000
    assert redis_client.xlen(keys.dead("clevertap", Kind.PROFILE)) == 0
    assert sum(count for _, _, count in audit_actions(redis_client)) == 3000
