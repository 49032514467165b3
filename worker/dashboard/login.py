"""Signing in and out, the limit on attempts, and the guard before every other page."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from ipaddress import IPv6Address, ip_address, ip_network
from secrets import token_urlsafe

import redis
from starlette.responses import Response

from worker.buffer.keys import DASHBOARD
from worker.buffer.scripts import script
from worker.errors import UnknownDestination
from worker.telemetry.logs import get_logger

from .audit_log import AuditEntry, AuditLog
from .endpoint import FormRequest, Handler, NotFound, local_path, not_found, page, redirect
from .sessions import Session, Sessions

log = get_logger(__name__)
LOGOUT = "/logout"
_SESSION, _LOGIN = "ingest_session", "ingest_login"
_LOGIN_ID = re.compile(r"[A-Za-z0-9_-]{24}")
_SIGNED_OUT = "You were signed out, so your action was not carried out."
_FOREIGN_FORM = "This form does not belong to your session. Go back, reload the page and try again."
# A person mistypes a few times; at about 1,400 guesses a day only the worst passwords are found.
MAX_ATTEMPTS = 5
WINDOW_S = 300


class LoginThrottle:
    """A limit on attempts from one address, in Redis and so across all gateways.

    Attempts count before they are checked, so that concurrent ones are counted too.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def wait_s(self, address: str) -> int:
        """Count an attempt; return 0 if it is allowed, else the seconds until the next one is."""
        reply = script("login_attempt").run(self._client, DASHBOARD, _network_id(address), WINDOW_S)
        attempts, left_s = map(int, reply)
        return 0 if attempts <= MAX_ATTEMPTS else max(1, left_s)

    def forget(self, address: str) -> None:
        """Reset the count after a successful sign-in."""
        self._client.delete(f"{DASHBOARD}:tries:{_network_id(address)}")


def _network_id(address: str) -> str:
    """Return the id of a client: of IPv6, a /64 is one, since a household has 2^64 addresses."""
    with suppress(ValueError):
        if isinstance(found := ip_address(address), IPv6Address):
            address = str(found.ipv4_mapped or ip_network((found, 64), strict=False))
    return sha256(address.encode()).hexdigest()[:24]


class Login:
    """Lets in users who know the password, and no one else."""

    def __init__(self, sessions: Sessions, throttle: LoginThrottle, audit: AuditLog) -> None:
        self._sessions = sessions
        self._throttle = throttle
        self._audit = audit

    def guarded(self, handler: Handler) -> Handler:
        """Require a session, and that one of our pages made a submitted form for that session."""

        def guard(request: FormRequest) -> Response:
            session = self.session(request)
            if session is None:
                return redirect(_login_path(request))
            token = self._sessions.form_token(session.id)
            request = replace(request, session=session, user=session.user, token=token)
            if request.method == "POST" and not self._is_own_form(request, session.id):
                return page(403, "error.html", title="Nothing was done", text=_FOREIGN_FORM)
            try:
                return handler(request)
            except (NotFound, UnknownDestination):
                return not_found(request)

        return guard

    def session(self, request: FormRequest) -> Session | None:
        """Return the session of a request's cookie, if it has a valid one."""
        cookie = request.cookies.get(_cookie_name(_SESSION, request))
        return self._sessions.read(cookie) if cookie else None

    def show(self, request: FormRequest) -> Response:
        """Show the sign-in page."""
        if self.session(request):
            return redirect("/")
        return self._form(request, 200, _SIGNED_OUT if "ended" in request.query else "")

    def sign_in(self, request: FormRequest) -> Response:
        """Check what was typed; every attempt counts, and a successful one resets the count."""
        login_id = _login_id(request)
        if not login_id or not self._is_own_form(request, _form_owner(login_id)):
            return self._form(request, 403, "This page was open for too long. Please try again.")
        if wait_s := self._throttle.wait_s(request.address):
            text = f"Too many attempts. Try again in {max(1, round(wait_s / 60))} min."
            refused = self._refuse(request, 429, text)
            refused.headers["retry-after"] = str(wait_s)
            return refused
        user, password = request.form.get("user", ""), request.form.get("password", "")
        if not self._sessions.is_password(user, password):
            return self._refuse(request, 401, "Wrong user name or password.")
        self._throttle.forget(request.address)
        cookie = self._sessions.start()
        self._audit.append(AuditEntry(user, "signed in"))
        response = redirect(local_path(request.form.get("next", "")))
        _set_cookie(response, request, _SESSION, cookie)
        _set_cookie(response, request, _LOGIN, "")
        return response

    def sign_out(self, request: FormRequest) -> Response:
        """End the session, also for copies of its cookie."""
        if request.session:
            self._sessions.end(request.session)
            self._audit.append(AuditEntry(request.user, "signed out"))
        response = redirect("/login")
        _set_cookie(response, request, _SESSION, "")
        return response

    def _refuse(self, request: FormRequest, status: int, error: str) -> Response:
        """Log a refused attempt, without the input: it may be a password in the wrong field."""
        log.warning("a sign-in was refused", address=request.address, status=status)
        return self._form(request, status, error)

    def _is_own_form(self, request: FormRequest, owner: str) -> bool:
        token = request.form.get("token", "")
        return request.same_site and self._sessions.is_form_token(owner, token)

    def _form(self, request: FormRequest, status: int, error: str) -> Response:
        login_id = _login_id(request) or token_urlsafe(18)
        token = self._sessions.form_token(_form_owner(login_id))
        target = local_path(request.form.get("next") or request.query.get("next", "/"))
        response = page(status, "login.html", token=token, next=target, error=error)
        _set_cookie(response, request, _LOGIN, login_id)
        return response


def _login_path(request: FormRequest) -> str:
    """Return the sign-in page that leads back here; a form is not submitted again."""
    if request.method != "POST":
        return f"/login?next={local_path(request.path)}"
    target = "/" if request.path == LOGOUT else local_path(request.path)
    return f"/login?ended=1&next={target}"


def _login_id(request: FormRequest) -> str:
    """Return what ties the sign-in form to this browser: one id for all its windows."""
    cookie = request.cookies.get(_cookie_name(_LOGIN, request), "")
    return cookie if _LOGIN_ID.fullmatch(cookie) else ""


def _form_owner(login_id: str) -> str:
    """Return the owner of a sign-in form, which cannot equal any session's id."""
    return f"login {login_id}"


def _cookie_name(name: str, request: FormRequest) -> str:
    """Return the cookie's name; with this prefix a browser accepts it from this host alone."""
    return f"__Host-{name}" if request.https else name


def _set_cookie(response: Response, request: FormRequest, name: str, value: str) -> None:
    response.set_cookie(
        _cookie_name(name, request),
        value,
        max_age=None if value else 0,
        path="/",
        secure=request.https,
        httponly=True,
        samesite="strict",
    )
