"""Signing in and out, and the guard before every other page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from secrets import token_urlsafe

from starlette.responses import Response

from worker.telemetry.logs import get_logger

from .audit_log import Audit, Entry
from .endpoint import Answer, Asked, local, page, see
from .login_throttle import LoginThrottle
from .sessions import Session, Sessions

log = get_logger(__name__)
_SESSION, _VISIT = "ingest_session", "ingest_visit"
_VISIT_ID = re.compile(r"[A-Za-z0-9_-]{24}")
LEAVE = "/logout"
_OVER = "You are signed out, so what you pressed was not done."


class Entrance:
    """Lets people in who know the password, and others nowhere."""

    def __init__(self, sessions: Sessions, throttle: LoginThrottle, audit: Audit) -> None:
        self._sessions = sessions
        self._throttle = throttle
        self._audit = audit

    def guarded(self, answer: Answer) -> Answer:
        """A page for those signed in; a form only when one of our pages made it for them."""

        def guard(asked: Asked) -> Response:
            session = self._session(asked)
            if session is None:
                return see(_door(asked))
            token = self._sessions.form_token(session.id)
            if asked.method == "POST" and not self._is_ours(asked, session.id):
                return self._stale(session)
            return answer(replace(asked, session=session, token=token))

        return guard

    def signed_in(self, asked: Asked) -> bool:
        """Whether somebody is who asks."""
        return self._session(asked) is not None

    def show(self, asked: Asked) -> Response:
        """The sign-in page."""
        if self._session(asked):
            return see("/")
        over = "ended" in asked.query
        return self._form(asked, 200, _OVER if over else "")

    def enter(self, asked: Asked) -> Response:
        """Look at what was typed; every try counts, a successful one forgets the others."""
        visit = _visit(asked)
        if not visit or not self._is_ours(asked, _guest(visit)):
            return self._form(asked, 403, "This page was open for too long. Please try again.")
        if wait_s := self._throttle.wait_s(asked.address):
            text = f"Too many tries. Please wait {max(1, round(wait_s / 60))} min."
            refused = self._form(asked, 429, text)
            refused.headers["retry-after"] = str(wait_s)
            return self._refused(asked, refused)
        if not self._sessions.knows(asked.form.get("user", ""), asked.form.get("password", "")):
            wrong = self._form(asked, 401, "User name or password is wrong.")
            return self._refused(asked, wrong)
        self._throttle.forget(asked.address)
        cookie = self._sessions.begin()
        if session := self._sessions.read(cookie):
            self._audit.note(Entry(session.user, "signed in"))
        entered = see(local(asked.form.get("next", "")))
        _give(entered, asked, _SESSION, cookie)
        _give(entered, asked, _VISIT, "")
        return entered

    def leave(self, asked: Asked) -> Response:
        """End the session, here and wherever its cookie was copied to."""
        if asked.session:
            self._sessions.end(asked.session)
            self._audit.note(Entry(asked.user, "signed out"))
        left = see("/login")
        _give(left, asked, _SESSION, "")
        return left

    def _refused(self, asked: Asked, answer: Response) -> Response:
        """Told in the log, for whoever watches for guessers; what was typed is not: it may be a
        password in the wrong field."""
        log.warning("a sign-in was refused", address=asked.address, status=answer.status_code)
        return answer

    def _session(self, asked: Asked) -> Session | None:
        cookie = asked.cookies.get(_name(_SESSION, asked))
        return self._sessions.read(cookie) if cookie else None

    def _is_ours(self, asked: Asked, owner: str) -> bool:
        token = asked.form.get("token", "")
        return asked.same_site and self._sessions.is_form_token(owner, token)

    def _form(self, asked: Asked, status: int, error: str) -> Response:
        visit = _visit(asked) or token_urlsafe(18)
        fields: Mapping[str, str] = {
            "token": self._sessions.form_token(_guest(visit)),
            "next": local(asked.form.get("next") or asked.query.get("next", "/")),
            "error": error,
        }
        shown = page(status, "login.html", **fields)
        _give(shown, asked, _VISIT, visit)
        return shown

    def _stale(self, session: Session) -> Response:
        text = "This form is not from a page of this session, so nothing was done. Go back, reload."
        return page(403, "trouble.html", title="Nothing was done", text=text, user=session.user)


def off(_: Asked) -> Response:
    """What stands at `/` when no password is set."""
    return page(200, "off.html")


def _door(asked: Asked) -> str:
    """The sign-in page, that leads on to what was asked for; a form is not sent again by itself."""
    if asked.method != "POST":
        return f"/login?next={local(asked.path)}"
    there = "/" if asked.path == LEAVE else local(asked.path)
    return f"/login?ended=1&next={there}"


def _visit(asked: Asked) -> str:
    """What ties the sign-in form to this browser: one for all its windows."""
    told = asked.cookies.get(_name(_VISIT, asked), "")
    return told if _VISIT_ID.fullmatch(told) else ""


def _guest(visit: str) -> str:
    """The owner of a sign-in form, which no session's id can be."""
    return f"visit {visit}"


def _name(name: str, asked: Asked) -> str:
    """With this prefix a browser takes the cookie from this very host alone, over https alone."""
    return f"__Host-{name}" if asked.https else name


def _give(response: Response, asked: Asked, name: str, value: str) -> None:
    response.set_cookie(
        _name(name, asked),
        value,
        max_age=None if value else 0,
        path="/",
        secure=asked.https,
        httponly=True,
        samesite="strict",
    )
