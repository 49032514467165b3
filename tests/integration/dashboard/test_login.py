"""Sign-in, sessions and forms: who is let in, and what keeps others from acting as an operator."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from pathlib import Path

import pytest
import redis

from support.pages import PASSWORD, Visitor, VisitorFactory
from worker.buffer import keys
from worker.dashboard.login import MAX_ATTEMPTS
from worker.dashboard.sessions import Sessions
from worker.dashboard.settings import DashboardSettings
from worker.vendors.secret import Secret

PAGES = ("/", "/destinations/clevertap", "/dead-letters", "/audit")


def test_dashboard_without_a_password_is_off_and_says_so(
    visitor_of: VisitorFactory,
) -> None:
    """The only page is the one that says how to turn it on."""
    visitor = visitor_of(INGEST_DASHBOARD_PASSWORD="")
    page = visitor.get("/")
    assert page.status_code == 200
    assert "INGEST_DASHBOARD_PASSWORD" in page.text
    assert [visitor.get(path).status_code for path in (*PAGES[1:], "/login")] == [404] * 4


@pytest.mark.parametrize("path", PAGES)
def test_page_without_a_session_redirects_to_the_sign_in(visitor: Visitor, path: str) -> None:
    """No page shows anything without a session."""
    response = visitor.get(path)
    assert (response.status_code, response.text) == (303, "")
    assert response.headers["location"] == f"/login?next={path}"


def test_form_without_a_session_changes_nothing(visitor: Visitor) -> None:
    """It leads to the sign-in."""
    form = {"action": "pause", "token": visitor.token("/login")}
    response = visitor.post("/destinations/clevertap", form)
    assert response.headers["location"] == "/login?ended=1&next=/destinations/clevertap"
    assert visitor.sign_in().status_code == 303
    assert "running" in visitor.get("/").text


def test_form_after_the_session_ended_leads_to_the_sign_in_and_back(operator: Visitor) -> None:
    """The sign-in page says that the action was not carried out."""
    form = {"action": "pause", "token": operator.token("/destinations/clevertap")}
    operator.cookies.clear()
    there = operator.post("/destinations/clevertap", form).headers["location"]
    page = operator.get(there).text
    assert "your action was not carried out" in page
    assert 'name="next" value="/destinations/clevertap"' in page
    assert operator.post("/logout", form).headers["location"] == "/login?ended=1&next=/"


def test_sign_in_redirects_to_the_page_that_was_requested(visitor: Visitor) -> None:
    """The sign-in page remembers where the visitor wanted to go."""
    page = visitor.get("/login?next=/dead-letters").text
    assert 'name="next" value="/dead-letters"' in page
    response = visitor.send("/login", user="operator", password=PASSWORD, next="/audit")
    assert response.headers["location"] == "/audit"


def test_sign_in_redirects_to_no_other_site(visitor: Visitor) -> None:
    """A path of another host is not followed."""
    response = visitor.send("/login", user="operator", password=PASSWORD, next="//evil.example")
    assert response.headers["location"] == "/"


def test_sign_in_works_from_any_of_several_open_pages(visitor: Visitor) -> None:
    """When a session ends, each open window shows the sign-in page; any of them works."""
    first, second = visitor.token("/login"), visitor.token("/login")
    form = {"user": "operator", "password": PASSWORD}
    assert visitor.post("/login", {**form, "token": first}).status_code == 303
    assert visitor.post("/login", {**form, "token": second}).status_code == 403  # it is over


def test_sign_in_token_differs_from_the_token_of_a_session(operator: Visitor) -> None:
    """A session's id in the sign-in form's cookie does not yield the session's token."""
    payload = operator.cookies["ingest_session"].partition(".")[0]
    session = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))[1]
    token = operator.token("/")
    operator.cookies.clear()
    operator.cookies.set("ingest_login", session)
    assert operator.token("/login") != token


def test_session_cookie_is_for_this_site_and_not_for_scripts(visitor: Visitor) -> None:
    """HttpOnly, SameSite=Strict, of this host; over http a Secure cookie would be lost."""
    cookie = _session_cookie(visitor.sign_in().headers.get_list("set-cookie"))
    assert cookie.startswith("ingest_session=")
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie
    assert "Domain" not in cookie


def test_session_cookie_over_https_is_secure(visitor_of: VisitorFactory) -> None:
    """It is never sent without TLS, and its prefix binds it to the host."""
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
def test_sign_in_with_a_wrong_name_or_password_is_refused_alike(
    visitor: Visitor, user: str, password: str
) -> None:
    """The response does not reveal which of the two was wrong."""
    response = visitor.sign_in(user, password)
    assert response.status_code == 401
    assert "Wrong user name or password." in response.text
    assert password not in response.text or not password


def test_sign_in_after_too_many_attempts_is_refused_for_that_address(
    visitor_of: VisitorFactory,
) -> None:
    """Even the right password is refused then, so further guesses reveal nothing."""
    guesser, operator = visitor_of("192.0.2.1"), visitor_of("192.0.2.2")
    assert [guesser.sign_in("operator", "x").status_code for _ in range(MAX_ATTEMPTS)] == [
        401
    ] * MAX_ATTEMPTS
    refused = guesser.sign_in()
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) > 0
    assert operator.sign_in().status_code == 303


def test_refused_sign_in_is_logged_without_the_input(
    visitor_of: VisitorFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    """The log has the client's address, and never a password typed into the wrong field."""
    guesser = visitor_of("192.0.2.1")
    for _ in range(MAX_ATTEMPTS + 1):
        guesser.sign_in("hunter2", "hunter3")
    logged = [
        line for line in capsys.readouterr().out.splitlines() if "a sign-in was refused" in line
    ]
    assert len(logged) == MAX_ATTEMPTS + 1
    assert all("address=192.0.2.1" in line and "hunter" not in line for line in logged)
    assert "status=429" in logged[-1]


def test_attempts_from_one_ipv6_network_are_counted_together(visitor_of: VisitorFactory) -> None:
    """One client has more IPv6 addresses than there are passwords to try."""
    responses = [
        visitor_of(f"2001:db8::{at:x}").sign_in("operator", "x") for at in range(MAX_ATTEMPTS + 1)
    ]
    assert [each.status_code for each in responses] == [401] * MAX_ATTEMPTS + [429]


def test_attempts_from_a_mapped_ipv4_address_are_counted_with_the_plain_one(
    visitor_of: VisitorFactory,
) -> None:
    """A dual-stack server reports IPv4 this way; otherwise one client would lock out all others."""
    guesser, other = visitor_of("::ffff:192.0.2.1"), visitor_of("::ffff:192.0.2.2")
    for _ in range(MAX_ATTEMPTS):
        guesser.sign_in("operator", "x")
    assert visitor_of("192.0.2.1").sign_in().status_code == 429
    assert other.sign_in().status_code == 303


def test_sign_out_ends_the_session_of_every_copy(operator: Visitor) -> None:
    """A copy of the cookie is worthless afterwards."""
    copied = dict(operator.cookies)
    assert operator.send("/logout", seen="/").headers["location"] == "/login"
    operator.cookies.update(copied)
    assert operator.get("/").status_code == 303


def test_forged_cookie_is_refused(operator: Visitor) -> None:
    """Only what was signed here, for this use, counts."""
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
        response = operator.get("/", {"cookie": f"ingest_session={each}".encode()})
        assert response.status_code == 303, each


def test_session_ends_with_time_a_new_password_or_a_new_secret(redis_client: redis.Redis) -> None:
    """On every gateway."""
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
def test_form_with_a_foreign_token_is_refused(
    operator: Visitor, redis_client: redis.Redis, token: str
) -> None:
    """Another site's form has no token of this session."""
    if token == "session":
        settings = DashboardSettings(password=Secret(PASSWORD))
        token = Sessions(redis_client, settings).form_token("another session")
    response = operator.post("/destinations/clevertap", {"action": "pause", "token": token})
    assert response.status_code == 403
    assert not redis_client.hexists(keys.state("clevertap"), "status")


def test_form_from_another_site_is_refused_despite_its_token(operator: Visitor) -> None:
    """Browsers send the origin of a form, and it is checked."""
    headers = {"sec-fetch-site": "cross-site"}
    response = operator.send("/destinations/clevertap", headers=headers, action="pause")
    assert response.status_code == 403


def test_password_may_come_from_a_file(visitor_of: VisitorFactory, tmp_path: Path) -> None:
    """As for every secret; the line feed at the end does not belong to it."""
    file = tmp_path / "password"
    file.write_text("from-a-file\n")
    environ = {"INGEST_DASHBOARD_PASSWORD": "", "INGEST_DASHBOARD_PASSWORD_FILE": str(file)}
    visitor = visitor_of(**environ, INGEST_DASHBOARD_USER="eva")
    assert visitor.sign_in("eva", "from-a-file").status_code == 303
    assert "eva" in visitor.get("/").text


def _session_cookie(cookies: list[str]) -> str:
    return next(each for each in cookies if "ingest_session=" in each)
