"""What holds for every page: security headers, escaping, time zones, and Redis Cluster."""

from __future__ import annotations

import re
from html import unescape

import orjson
import pytest
import redis

from support.pages import (
    DESTINATION_PAGE,
    RefuseProfiles,
    Visitor,
    VisitorFactory,
    add_dead_letter,
    group_path,
    record_paths,
    rows,
)
from support.pipeline import PipelineFactory, stored_profile
from support.redis_groups import RedisCluster
from support.vendor import LoopbackVendor
from worker.buffer.records import pack
from worker.connections.clients import operator_client

HOSTILE = "<script>alert('x')</script>\"onload='y'"


def test_pages_allow_nothing_but_their_own_resources(
    operator: Visitor, pipeline_of: PipelineFactory, vendor: LoopbackVendor
) -> None:
    """Headers forbid scripts, styles and frames of others, and no page contains inline ones."""
    pipeline = pipeline_of(name="clevertap")
    vendor.prescribe("i0", always=516)
    pipeline.accept_profiles(["i0"])
    pipeline.deliver()
    paths = ["/", DESTINATION_PAGE, "/dead-letters", "/audit", "/login"]
    paths += ["/destinations/none", "/records/clevertap/none"]
    paths += re.findall(r'href="(/dead-letters/[^"]+)"', operator.get("/dead-letters").text)
    paths += re.findall(r'href="(/records/[^"]+)"', operator.get(paths[-1]).text)
    assert len(paths) == 9
    for path in paths:
        page = operator.get(path)
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["referrer-policy"] == "same-origin"
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["x-frame-options"] == "DENY"
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'self'; img-src 'self'; ")
        assert "form-action 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert not re.search(r"<style|style=|<script(?! src=\"/assets/)| on\w+=", page.text), path
        assert not re.search(r"(src|href|action)=\"(?!/|\?|#main)", page.text), path


def test_hostile_texts_of_records_and_vendors_are_escaped(
    operator: Visitor, redis_client: redis.Redis
) -> None:
    """Event names, messages, fields and reasons are shown as text."""
    body = {"type": "event", "identity": HOSTILE, "evtName": HOSTILE, "evtData": {HOSTILE: HOSTILE}}
    stored = pack(f"{1:032x}", "20260101", HOSTILE, orjson.dumps(body))
    add_dead_letter(redis_client, stored, kind="event", reason=HOSTILE, code="", error=HOSTILE)
    operator.send(DESTINATION_PAGE, action="pause", reason=HOSTILE)
    (where,) = record_paths(operator)
    paths = ("/", "/dead-letters", group_path(operator), where, "/audit")
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
def test_incomplete_path_shows_a_page_with_the_menu(
    operator: Visitor, visitor_of: VisitorFactory, path: str
) -> None:
    """With a session; without one it leads to the sign-in."""
    page = operator.get(path)
    assert (page.status_code, "Not found" in page.text, "Audit" in page.text) == (404, True, True)
    assert visitor_of().get(path).headers["location"] == f"/login?next={path}"


def test_every_time_has_its_zone(operator: Visitor, refuse_profiles: RefuseProfiles) -> None:
    """Operators and servers may be in different time zones."""
    refuse_profiles(["a"])
    operator.send(DESTINATION_PAGE, action="pause")
    (where,) = record_paths(operator)
    for path in (DESTINATION_PAGE, "/dead-letters", group_path(operator), where, "/audit"):
        page = operator.get(path).text
        found = re.findall(r"\d\d:\d\d:\d\d(.{4})", page)
        assert set(found) == {" UTC"}, path


def test_pages_work_on_a_cluster(visitor_of: VisitorFactory, redis_cluster: RedisCluster) -> None:
    """Sign in, look, pause, purge and sign out, whichever nodes hold the keys."""
    visitor = visitor_of(REDIS_URL=redis_cluster.url)
    assert visitor.sign_in("operator", "wrong").status_code == 401
    assert visitor.sign_in().status_code == 303
    with operator_client(redis_cluster.url) as client:
        add_dead_letter(client, stored_profile("a"))
    assert visitor.send(DESTINATION_PAGE, action="pause").status_code == 303
    purged = visitor.send(group_path(visitor), action="purge")
    assert purged.headers["location"].endswith("n=1")
    assert [visitor.get(path).status_code for path in ("/", "/dead-letters")] == [200, 200]
    actions = {entry["Action"] for entry in rows(visitor.get("/audit").text, "Action")}
    assert actions == {"signed in", "paused", "purged"}
    assert visitor.send("/logout", seen="/audit").status_code == 303
