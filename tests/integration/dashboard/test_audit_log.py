"""The audit log: what it keeps, and what it shows when a process dies in the middle."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import httpx
import pytest
import redis

from support.gateway import GatewayProcess, GatewayProcessFactory
from support.pages import PASSWORD, Visitor, add_dead_letter, field, links, profile_bytes, rows
from support.polling import poll_until
from worker.buffer import keys
from worker.dashboard.audit_log import KEPT, AuditEntry, AuditLog
from worker.vendors.protocol import Kind

CLEVERTAP = {"CLEVERTAP_ACCOUNT_ID": "ACCOUNT-1", "CLEVERTAP_PASSCODE": "PASS-PASS-PASS"}


def test_audit_log_keeps_the_last_thousand_entries(redis_client: redis.Redis) -> None:
    """It does not grow beyond that."""
    audit = AuditLog(redis_client)
    for at in range(KEPT + 5):
        audit.append(AuditEntry("eva", "purged", "clevertap", "event", at))
    assert [entry.count for entry in audit.latest(2)] == [KEPT + 4, KEPT + 3]
    assert len(list(audit.latest(5000))) == KEPT


def test_audit_page_shows_every_entry_that_is_kept(
    operator: Visitor, redis_client: redis.Redis
) -> None:
    """Sign-ins and sign-outs too."""
    audit = AuditLog(redis_client)
    audit.append(AuditEntry("eva", "the first one"))
    for _ in range(300):
        audit.append(AuditEntry("eva", "purged", "clevertap", "event", 1))
    assert operator.send("/logout", seen="/").status_code == 303
    assert operator.sign_in().status_code == 303
    entries = rows(operator.get("/audit").text, "User", "Action")
    actions = [entry["Action"] for entry in entries]
    assert (actions.count("purged"), actions.count("signed in")) == (300, 2)
    assert {"the first one", "signed out"} <= set(actions)
    assert all(entry["Records"] == "1" for entry in entries if entry["Action"] == "purged")


def test_process_that_dies_in_a_replay_leaves_an_entry(
    redis_url: str, redis_client: redis.Redis, start_gateway: GatewayProcessFactory
) -> None:
    """Who began it, with how many, is written before the first record moves."""
    with redis_client.pipeline(transaction=False) as together:
        for at in range(40_000):
            add_dead_letter(together, profile_bytes(at + 1))
        together.execute()
    served = start_gateway(redis_url, INGEST_DASHBOARD_PASSWORD=PASSWORD, **CLEVERTAP)
    browser, group, form = open_group(served)
    replaying = threading.Thread(target=send_to_dying, args=(browser, group, form))
    replaying.start()
    totals = keys.counters("clevertap")
    poll_until(lambda: redis_client.hget(totals, "profile:replayed"), what="the replay began")
    served.process.kill()
    replaying.join()
    left = redis_client.xlen(keys.dead("clevertap", Kind.PROFILE))
    assert left > 0, "it was over before it could be killed"
    (entry,) = (each for each in AuditLog(redis_client).latest() if each.action != "signed in")
    assert (entry.action, entry.count) == ("began to replay", 40_000)


def open_group(served: GatewayProcess) -> tuple[httpx.Client, str, Mapping[str, str]]:
    """Sign in and open the only group; return its path and its form's fields."""
    browser = httpx.Client(base_url=served.url, trust_env=False, timeout=60)
    login = {"token": field(browser.get("/login").text, "token"), "user": "operator"}
    assert browser.post("/login", data={**login, "password": PASSWORD}).status_code == 303
    (group,) = links(browser.get("/dead-letters").text, "/dead-letters/")
    page = browser.get(group).text
    form = {"token": field(page, "token"), "until": field(page, "until"), "action": "replay"}
    return browser, group, form


def send_to_dying(browser: httpx.Client, path: str, form: Mapping[str, str]) -> None:
    """Send a form to a process that is killed meanwhile."""
    with pytest.raises(httpx.TransportError):
        browser.post(path, data=dict(form))
    browser.close()
