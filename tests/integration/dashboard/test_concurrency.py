"""What several operators do at once, and what is known of it when a process dies in between."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
import redis

from support.gateway import GatewayProcess, GatewayProcessFactory
from support.pages import PASSWORD, Visitor, VisitorFactory, field, links
from support.pipeline import stored_profile
from support.polling import poll_until
from worker.buffer import keys
from worker.dashboard.audit_log import AuditEntry, AuditLog
from worker.dashboard.grouping import SingleLetter
from worker.dead_letters.letters import DeadLetters
from worker.dead_letters.replay import Replayer
from worker.settings.destination import Destination, KindSettings
from worker.vendors.clevertap.account import CleverTapAccount
from worker.vendors.protocol import Kind

PROFILES = Destination(
    name="clevertap", account=CleverTapAccount(), kinds={Kind.PROFILE: KindSettings(100, 8)}
)
DEAD = keys.dead("clevertap", Kind.PROFILE)
COUNTERS = keys.counters("clevertap")


def bury(client: redis.Redis, number: int = 1, **changed: Any) -> None:
    """Dead letters of one cause."""
    with client.pipeline(transaction=False) as together:
        for at in range(number):
            told: dict[Any, Any] = {"record": stored_profile(f"i{at}"), "reason": "refused"}
            together.xadd(DEAD, told | {"code": 516, "error": "No.", "attempts": 1} | changed)
        together.hincrby(COUNTERS, "profile:accepted", number)
        together.execute()


def the_cause(visitor: Visitor) -> str:
    """The address of the only cause there is."""
    (found,) = links(visitor.get("/dead-letters").text, "/dead-letters/")
    return found


def form_of(visitor: Visitor, path: str, **told: str) -> dict[str, str]:
    """A page's form, as it is sent later."""
    html = visitor.get(path).text
    return {"token": field(html, "token"), "entry": field(html, "entry"), **told}


def deeds(client: redis.Redis) -> list[tuple[str, int]]:
    """What was done to how many, the newest first; without the sign-in."""
    found = [(each.action, each.count) for each in AuditLog(client).latest()]
    return [each for each in found if not each[0].startswith("signed")]


@pytest.fixture
def colleague(visitor_of: VisitorFactory) -> Visitor:
    """Somebody else who signed in, at another gateway."""
    visitor = visitor_of("192.0.2.2")
    assert visitor.sign_in().status_code == 303
    return visitor


def test_of_two_who_edit_one_record_the_second_is_told_and_it_is_sent_once(
    operator: Visitor, colleague: Visitor, redis_client: redis.Redis
) -> None:
    """The first one's edit goes; the second one's does nothing, and leaves no line in the audit."""
    bury(redis_client)
    (where,) = links(operator.get(the_cause(operator)).text, "/records/")
    told = [
        form_of(each, where, action="replay", record=json.dumps(profile(name)))
        for each, name in ((operator, "A"), (colleague, "B"))
    ]
    assert operator.post(where, told[0]).status_code == 303
    late = colleague.post(where, told[1])
    assert late.status_code == 404
    assert "replayed or purged meanwhile" in late.text
    assert waiting(redis_client) == 1
    assert deeds(redis_client) == [("replayed, edited", 1)]


@pytest.mark.parametrize("action", ["replay", "purge", "show"])
def test_what_died_again_is_not_touched_by_a_page_of_its_former_death(
    operator: Visitor, redis_client: redis.Redis, action: str
) -> None:
    """It may have other content and another cause by now, which nobody has looked at."""
    stored = stored_profile("jack")
    bury(redis_client, record=stored)
    (where,) = links(operator.get(the_cause(operator)).text, "/records/")
    told = form_of(operator, where, action=action)
    redis_client.delete(DEAD)
    bury(redis_client, record=stored, code=515, error="Something else.")
    page = operator.post(where, told)
    assert "Nothing was done" in page.text
    assert "Something else." in page.text
    assert "jack" not in page.text
    assert redis_client.xlen(DEAD) == 1
    assert deeds(redis_client) == []


def test_what_dies_again_between_the_look_and_the_deed_is_not_touched(
    redis_client: redis.Redis,
) -> None:
    """A deed is done to the death that was looked at, however soon another one follows."""
    letters = DeadLetters(redis_client, PROFILES)
    stored = stored_profile("jack")
    bury(redis_client, record=stored)
    (seen,) = letters.select()
    redis_client.xdel(DEAD, seen.entry)
    bury(redis_client, record=stored, code=515)
    meant = SingleLetter(letters, seen)
    assert (meant.purge(), Replayer(redis_client, PROFILES).replay(meant, print)) == (0, 0)
    assert redis_client.xlen(DEAD) == 1


@pytest.mark.parametrize("second", ["replay", "purge"])
def test_what_two_do_to_one_group_at_once_happens_once_to_each_record(
    operator: Visitor, colleague: Visitor, redis_client: redis.Redis, second: str
) -> None:
    """The counts of both together are the number of records, in the totals and in the audit."""
    bury(redis_client, 3000)
    cause = the_cause(operator)
    pressed = [
        threading.Thread(target=each.send, args=(cause,), kwargs={"action": action})
        for each, action in ((operator, "replay"), (colleague, second))
    ]
    for each in pressed:
        each.start()
    for each in pressed:
        each.join()
    purged = int(redis_client.hget(COUNTERS, "profile:purged") or 0)
    assert (waiting(redis_client) + purged, redis_client.xlen(DEAD)) == (3000, 0)
    assert sum(count for _, count in deeds(redis_client)) == 3000


def test_a_process_that_dies_in_a_replay_leaves_a_line_in_the_audit(
    redis_url: str, redis_client: redis.Redis, start_gateway: GatewayProcessFactory
) -> None:
    """Who began it, with how many, is written down before the first record moves."""
    bury(redis_client, 40_000)
    served = start_gateway(redis_url, INGEST_DASHBOARD_PASSWORD=PASSWORD, **CLEVERTAP)
    browser, cause, form = open_cause(served)
    pressed = threading.Thread(target=send_in_vain, args=(browser, cause, form))
    pressed.start()
    poll_until(lambda: redis_client.hget(COUNTERS, "profile:replayed"), what="the replay began")
    served.process.kill()
    pressed.join()
    assert redis_client.xlen(DEAD) > 0, "it was over before it could be killed"
    assert deeds(redis_client) == [("began to replay", 40_000)]


def test_a_button_that_changed_nothing_is_written_down_so(
    operator: Visitor, colleague: Visitor, redis_client: redis.Redis
) -> None:
    """The first pause holds, with its reason; the audit tells whose had no effect."""
    where = "/destinations/clevertap"
    operator.send(where, action="pause", reason="first")
    colleague.send(where, action="pause", reason="second")
    assert "first" in colleague.get(where).text
    assert "second" not in colleague.get(where).text
    assert deeds(redis_client) == [
        ("pressed pause, when it was paused already", 0),
        ("paused", 0),
    ]


def test_a_pause_that_the_page_did_not_show_is_not_undone_by_it(
    operator: Visitor, colleague: Visitor, redis_client: redis.Redis
) -> None:
    """Somebody may have had a reason that whoever presses resume has not read."""
    where = "/destinations/clevertap"
    operator.send(where, action="pause", reason="first")
    page = operator.get(where).text
    form = {"token": field(page, "token"), "since": field(page, "since"), "action": "resume"}
    colleague.send(where, action="resume")
    colleague.send(where, action="pause", reason="maintenance")
    answer = operator.post(where, form)
    assert (answer.status_code, "Nothing was done" in answer.text) == (409, True)
    assert redis_client.hget(keys.state("clevertap"), "status") == b"paused"
    form["since"] = field(operator.get(where).text, "since")
    assert operator.post(where, form).status_code == 303
    assert redis_client.hget(keys.state("clevertap"), "status") == b"running"


def test_the_audit_shows_all_that_it_keeps(operator: Visitor, redis_client: redis.Redis) -> None:
    """Sign-ins and sign-outs too; nothing that is kept is hidden from the page."""
    audit = AuditLog(redis_client)
    audit.append(AuditEntry("eva", "the first one"))
    for _ in range(300):
        audit.append(AuditEntry("eva", "purged", "clevertap", "event", 1))
    assert operator.send("/logout", seen="/").status_code == 303
    assert operator.sign_in().status_code == 303
    page = operator.get("/audit").text
    assert "the first one" in page
    assert "signed out" in page


CLEVERTAP = {"CLEVERTAP_ACCOUNT_ID": "ACCOUNT-1", "CLEVERTAP_PASSCODE": "PASS-PASS-PASS"}


def profile(name: str) -> dict[str, Any]:
    """A profile that keeps the rules."""
    return {"type": "profile", "identity": "x", "profileData": {"Name": name}}


def waiting(client: redis.Redis) -> int:
    """How many were put back."""
    return sum(client.llen(keys.pending("clevertap", Kind.PROFILE, at)) for at in range(8))


def open_cause(served: GatewayProcess) -> tuple[httpx.Client, str, Mapping[str, str]]:
    """Somebody signed in, on the page of the only cause: its address, and its form's fields."""
    browser = httpx.Client(base_url=served.url, trust_env=False, timeout=60)
    told = {"token": field(browser.get("/login").text, "token"), "user": "operator"}
    assert browser.post("/login", data={**told, "password": PASSWORD}).status_code == 303
    (cause,) = links(browser.get("/dead-letters").text, "/dead-letters/")
    page = browser.get(cause).text
    form = {"token": field(page, "token"), "until": field(page, "until"), "action": "replay"}
    return browser, cause, form


def send_in_vain(browser: httpx.Client, path: str, form: Mapping[str, str]) -> None:
    """Send a form to a process that dies of it."""
    with pytest.raises(httpx.TransportError):
        browser.post(path, data=dict(form))
    browser.close()
