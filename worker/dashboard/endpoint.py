"""One request of a browser, and how it is answered: off the event loop, with headers that let a
page do nothing but what these pages do."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from redis.exceptions import RedisError
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response

from worker.buffer.scripts import is_out_of_memory

from .rendering import render
from .sessions import Session

# A record of the largest size a vendor takes (800 KB), each byte as %XX.
MOST_FORM_BYTES = 3 * 1024 * 1024
MOST_FORM_S = 30.0
# Of somebody who is not signed in: a name, a password and tokens. Strangers may be thousands.
MOST_STRANGER_BYTES = 16 * 1024
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; img-src 'self'; "
    "script-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "cache-control": "no-store",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
_AWAY = "Redis does not answer, so nothing can be shown or done. Records are not lost."
_FULL = "Redis has no memory left for this. Records are not lost: purge dead letters to make room."
_HALF_DONE = """ What you pressed may be done, in part or not at all: where it began, the audit has
a line for it."""
# Two slashes at its beginning would name another host. Anybody may send any text here, so it is
# matched in one pass.
_LOCAL = re.compile(r"/(?!/)[A-Za-z0-9_/-]*")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a page is asked: a GET, or a form that was sent."""

    method: str
    path: str
    parts: Mapping[str, str]
    query: Mapping[str, str]
    form: Mapping[str, str]
    cookies: Mapping[str, str]
    address: str
    https: bool
    same_site: bool
    session: Session | None = None
    token: str = ""

    @property
    def user(self) -> str:
        """Who is signed in."""
        return self.session.user if self.session else ""


Answer = Callable[[Asked], Response]
Known = Callable[[Asked], bool]


def nobody(_: Asked) -> bool:
    """Whom the sign-in page knows."""
    return False


def endpoint(
    answer: Answer, route: str, known: Known = nobody
) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint that answers in a thread, since what it does talks to Redis and vendors.

    Only those who are ``known`` may send a large form; of others it is taken as an empty one.
    """

    async def serve(request: Request) -> Response:
        if seen := request.scope.get("gateway.seen"):
            seen.route = route
        try:
            return await respond(request)
        except RedisError as error:
            title, text = (
                ("Redis is full", _FULL) if is_out_of_memory(error) else ("Redis is away", _AWAY)
            )
            text += _HALF_DONE if request.method == "POST" else ""
            return page(503, "trouble.html", title=title, text=text)

    async def respond(request: Request) -> Response:
        def may_go_on() -> Awaitable[bool]:
            return run_in_threadpool(known, _asked(request, b""))

        try:
            body = await _body(request, may_go_on) if request.method == "POST" else b""
        except ClientDisconnect:  # nobody is there to be answered
            return Response(status_code=400)
        except TimeoutError:
            return page(408, "trouble.html", title="Too slow", text="The form did not come.")
        if body is None:
            return page(413, "trouble.html", title="Too large", text="This form is too large.")
        return await run_in_threadpool(answer, _asked(request, body))

    return serve


async def _body(request: Request, may_go_on: Callable[[], Awaitable[bool]]) -> bytes | None:
    """The form that was sent; None when it is too large, TimeoutError when it is too slow."""
    parts, size, most = [], 0, MOST_STRANGER_BYTES
    async with asyncio.timeout(MOST_FORM_S):
        async for part in request.stream():
            size += len(part)
            if size > most == MOST_STRANGER_BYTES:
                if not await may_go_on():
                    return b""
                most = MOST_FORM_BYTES
            if size > most:
                return None
            parts.append(part)
    return b"".join(parts)


def _asked(request: Request, body: bytes) -> Asked:
    try:
        form = dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=50))
    except ValueError:
        form = {}
    # Browsers tell where a request comes from; older ones do not, and have the form's token.
    site = request.headers.get("sec-fetch-site", "same-origin")
    return Asked(
        method=request.method,
        path=request.url.path,
        parts=request.path_params,
        query=dict(request.query_params),
        form=form,
        cookies=request.cookies,
        address=request.client.host if request.client else "",
        https=request.url.scheme == "https",
        same_site=site in {"same-origin", "none"},
    )


def page(status: int, template: str, **context: Any) -> Response:
    """A page, with all the headers of one."""
    return HTMLResponse(render(template, **context), status, headers=HEADERS)


def see(path: str) -> Response:
    """Go on there with a GET: what was sent is not sent again when the page is reloaded."""
    return Response(status_code=303, headers={**HEADERS, "location": path})


def local(path: str) -> str:
    """The path when it is one of this site's plain ones, else the first page."""
    return path if _LOCAL.fullmatch(path) else "/"
