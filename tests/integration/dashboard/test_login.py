"""Who is let into the dashboard, and what keeps others from acting in an operator's name."""

from __future__ import annotations

import json
import re
import time
from base64 import urlsafe_b64decode
from pathlib import Path

import pytest
import redis

from support.pages import PASSWORD, Visitor, VisitorFactory
from support.pipeline import PipelineFactory
from support.vendor import LoopbackVendor
from worker.buffer import keys
from worker.dashboard.login_throttle import MAX_ATTEMPTS
from worker.dashboard.sessions import Sessions
from worker.dashboard.settings import DashboardSettings
from worker.gateway.app import build_components
from worker.vendors.secret import Secret

PAGES = ("/", "/destinations/clevertap", "/dead-letters", "/audit")


def test_without_a_password_there_is_no_dashboard_and_the_first_page_says_so(
    visitor_of: VisitorFactory,
) -> None:
    """Nobody can sign in where nobody set a password: no page but the one that tells."""
    visitor = visitor_of(INGEST_DASHBOARD_PASSWORD="")
    told = visitor.get("/")
    assert told.status_code == 200
    assert "INGEST_DASHBOARD_PASSWORD" in told.text
    assert [visitor.get(path).status_code for path in (*PAGES[1:], "/login")] == [404] * 4


@pytest.mark.parametrize("path", PAGES)
def test_a_stranger_is_shown_the_sign_in_and_nothing_else(visitor: Visitor, path: str) -> None:
    """No page shows anything to somebody who has not signed in."""
    answer = visitor.get(path)
    assert (answer.status_code, answer.text) == (303, "")
    assert answer.headers["location"] == f"/login?next={path}"


def test_a_strangers_form_changes_nothing(visitor: Visitor) -> None:
    """Without a session, a form is not even looked at."""
    told = {"action": "pause", "token": visitor.token("/login")}
    answer = visitor.post("/destinations/clevertap", told)
    assert answer.headers["location"] == "/login?ended=1&next=/destinations/clevertap"
    assert visitor.sign_in().status_code == 303
    assert "running" in visitor.get("/").text


def test_who_was_signed_out_meanwhile_is_told_that_nothing_was_done(operator: Visitor) -> None:
    """A button pressed after the session's end leads to the sign-in, which says so, and back."""
    form = {"action": "pause", "token": operator.token("/destinations/clevertap")}
    operator.cookies.clear()
    there = operator.post("/destinations/clevertap", form).headers["location"]
    page = operator.get(there).text
    assert "what you pressed was not done" in page
    assert 'name="next" value="/destinations/clevertap"' in page
    assert operator.post("/logout", form).headers["location"] == "/login?ended=1&next=/"


def test_whoever_knows_the_password_comes_to_the_page_that_was_asked_for(visitor: Visitor) -> None:
    """Signing in goes on where it interrupted, on this site alone."""
    page = visitor.get("/login?next=/dead-letters").text
    assert 'name="next" value="/dead-letters"' in page
    assert (
        visitor.send("/login", user="operator", password=PASSWORD, next="/audit").headers[
            "location"
        ]
        == "/audit"
    )


@pytest.mark.parametrize(
    "there", ["//evil.example", "https://evil.example/", "/\\evil.example", ""]
)
def test_signing_in_leads_to_no_other_site(visitor: Visitor, there: str) -> None:
    """An address of somebody else's is not followed."""
    answer = visitor.send("/login", user="operator", password=PASSWORD, next=there)
    assert answer.headers["location"] == "/"


def test_of_several_sign_in_pages_each_lets_in(visitor: Visitor) -> None:
    """When a session ends, each open window shows one; any may be filled in."""
    first, second = visitor.token("/login"), visitor.token("/login")
    told = {"user": "operator", "password": PASSWORD}
    assert visitor.post("/login", {**told, "token": first}).status_code == 303
    assert visitor.post("/login", {**told, "token": second}).status_code == 403  # it is over


def test_a_sign_in_form_is_no_form_of_a_session(operator: Visitor) -> None:
    """Nobody gets the token of a session by calling its id a visit."""
    payload = operator.cookies["ingest_session"].partition(".")[0]
    session = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))[1]
    token = operator.token("/")
    operator.cookies.clear()
    operator.cookies.set("ingest_login", session)
    assert operator.token("/login") != token


def test_an_address_to_go_on_to_costs_a_stranger_nothing_to_try(visitor: Visitor) -> None:
    """Anybody may send any text there; the longest one is read at once, and not followed."""
    began = time.monotonic()
    page = visitor.get(f"/login?next=/{'a' * 5000}!").text
    assert time.monotonic() - began < 2
    assert 'name="next" value="/"' in page


def test_the_cookie_is_for_this_site_and_no_script(visitor: Visitor) -> None:
    """HttpOnly, SameSite=Strict, of this host; over http a Secure cookie would be lost."""
    cookie = _session_cookie(visitor.sign_in().headers.get_list("set-cookie"))
    assert cookie.startswith("ingest_session=")
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie
    assert "Domain" not in cookie


def test_over_https_the_cookie_is_secure(visitor_of: VisitorFactory) -> None:
    """With TLS it is never sent without, and bound to the host by its name."""
    visitor = visitor_of(base_url="https://testserver")
    cookie = _session_cookie(visitor.sign_in().headers.get_list("set-cookie"))
    assert cookie.startswith("__Host-ingest_session=")
    assert "Secure" in cookie
    assert visitor.get("/").status_code == 200


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("operator", "guess-guess"),
        ("Operator", PASSWORD),
        ("operator", ""),
        ("", ""),
        ("ö", PASSWORD + "ö"),
    ],
)
def test_a_wrong_name_or_password_is_refused_alike(
    visitor: Visitor, user: str, password: str
) -> None:
    """The answer does not tell which of the two was wrong."""
    answer = visitor.sign_in(user, password)
    assert answer.status_code == 401
    assert "User name or password is wrong." in answer.text
    assert password not in answer.text or not password


def test_after_a_few_tries_an_address_waits_and_others_do_not(visitor_of: VisitorFactory) -> None:
    """Also the right password is refused then, so guessing on tells nothing."""
    guesser, operator = visitor_of("192.0.2.1"), visitor_of("192.0.2.2")
    assert [guesser.sign_in("operator", "x").status_code for _ in range(MAX_ATTEMPTS)] == [401] * MAX_ATTEMPTS
    refused = guesser.sign_in()
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0
    assert operator.sign_in().status_code == 303


def test_a_refused_sign_in_is_told_in_the_log_without_what_was_typed(
    visitor_of: VisitorFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever watches for guessers sees where they are; a password in the wrong field stays."""
    guesser = visitor_of("192.0.2.1")
    for _ in range(MAX_ATTEMPTS + 1):
        guesser.sign_in("hunter2", "hunter3")
    told = [
        line for line in capsys.readouterr().out.splitlines() if "a sign-in was refused" in line
    ]
    assert len(told) == MAX_ATTEMPTS + 1
    assert all("address=192.0.2.1" in line and "hunter" not in line for line in told)
    assert "status=429" in told[-1]


def test_the_addresses_of_one_network_are_one_guesser(visitor_of: VisitorFactory) -> None:
    """Of IPv6 a guesser has more addresses than there are words."""
    told = [visitor_of(f"2001:db8::{at:x}").sign_in("operator", "x") for at in range(MAX_ATTEMPTS + 1)]
    assert [each.status_code for each in told] == [401] * MAX_ATTEMPTS + [429]


def test_an_old_address_in_new_clothes_is_one_guesser(visitor_of: VisitorFactory) -> None:
    """A server for both kinds of addresses tells IPv4 so: else one guesser kept everybody out."""
    guesser, other = visitor_of("::ffff:192.0.2.1"), visitor_of("::ffff:192.0.2.2")
    for _ in range(MAX_ATTEMPTS):
        guesser.sign_in("operator", "x")
    assert visitor_of("192.0.2.1").sign_in().status_code == 429
    assert other.sign_in().status_code == 303


def test_signing_out_ends_the_session_of_every_copy(operator: Visitor) -> None:
    """A cookie that was copied before is worth nothing after."""
    copied = dict(operator.cookies)
    assert operator.send("/logout", seen="/").headers["location"] == "/login"
    operator.cookies.update(copied)
    assert operator.get("/").status_code == 303


def test_a_cookie_that_was_changed_or_made_up_lets_nobody_in(operator: Visitor) -> None:
    """Whatever is in it: only what we signed, for this use, counts."""
    cookie = operator.cookies["ingest_session"]
    payload, _, signature = cookie.partition(".")
    forged = (
        f"{payload[:-2]}AA.{signature}",
        f"{payload}.{signature[::-1]}",
        f"{payload}.",
        payload,
        "",
        ".",
        "%%%.%%%",
        "ä.ä",
        f"{signature}.{payload}",
    )
    for each in forged:
        operator.cookies.clear()
        told = operator.get("/", {"cookie": f"ingest_session={each}".encode()})
        assert told.status_code == 303, each


def test_a_session_ends_by_itself_and_with_a_new_password(redis_client: redis.Redis) -> None:
    """Time ends it, and so does a new password or a new secret; another gateway knows it too."""
    now = [1_800_000_000.0]
    settings = DashboardSettings(password=Secret("one"), session_s=100)
    sessions = Sessions(redis_client, settings, now=lambda: now[0])
    cookie = sessions.start()
    assert Sessions(redis_client, settings, now=lambda: now[0]).read(cookie)
    changed = DashboardSettings(password=Secret("two"), session_s=100)
    assert not Sessions(redis_client, changed, now=lambda: now[0]).read(cookie)
    now[0] += 99
    assert sessions.read(cookie)
    redis_client.delete(f"{keys.DASHBOARD}:secret")
    assert not Sessions(redis_client, settings, now=lambda: now[0]).read(cookie)
    now[0] += 1
    assert not sessions.read(cookie)


@pytest.mark.parametrize("token", ["", "x", "session"])
def test_a_form_that_no_page_of_the_session_made_is_refused(
    operator: Visitor, redis_client: redis.Redis, token: str
) -> None:
    """Another site's form has no token of this session, so it does nothing."""
    if token == "session":
        settings = DashboardSettings(password=Secret(PASSWORD))
        token = Sessions(redis_client, settings).form_token("another session")
    answer = operator.post("/destinations/clevertap", {"action": "pause", "token": token})
    assert answer.status_code == 403
    assert not redis_client.hexists(keys.state("clevertap"), "status")


def test_a_form_sent_from_another_site_is_refused_in_spite_of_its_token(operator: Visitor) -> None:
    """Browsers tell where a form comes from; that is listened to."""
    headers = {"sec-fetch-site": "cross-site"}
    answer = operator.send("/destinations/clevertap", headers=headers, action="pause")
    assert answer.status_code == 403


def test_a_password_may_come_from_a_file(visitor_of: VisitorFactory, tmp_path: Path) -> None:
    """As every secret may; the line feed at its end is none of it."""
    file = tmp_path / "password"
    file.write_text("from-a-file\n")
    environ = {"INGEST_DASHBOARD_PASSWORD": "", "INGEST_DASHBOARD_PASSWORD_FILE": str(file)}
    visitor = visitor_of(**environ, INGEST_DASHBOARD_USER="eva")
    assert visitor.sign_in("eva", "from-a-file").status_code == 303
    assert "eva" in visitor.get("/").text


def test_the_password_shows_itself_nowhere() -> None:
    """Not in what the process' parts print of themselves."""
    assert PASSWORD not in repr(DashboardSettings(password=Secret(PASSWORD)))
    parts = build_components(
        {"REDIS_URL": "redis://127.0.0.1:1", "INGEST_DASHBOARD_PASSWORD": PASSWORD}
    )
    assert PASSWORD not in repr(parts.dashboard)


def test_every_page_may_do_nothing_but_what_it_needs(
    operator: Visitor, pipeline_of: PipelineFactory, vendor: LoopbackVendor
) -> None:
    """Headers forbid scripts, styles and frames of others, and no page holds any inline."""
    pipeline = pipeline_of(name="clevertap")
    vendor.prescribe("i0", always=516)
    pipeline.accept_profiles(["i0"])
    pipeline.deliver()
    paths = [*PAGES, "/login", "/destinations/none", "/records/clevertap/none"]
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


def _session_cookie(cookies: list[str]) -> str:
    return next(each for each in cookies if "ingest_session=" in each)
