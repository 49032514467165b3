"""From a browser's request to a page: handled off the event loop, with strict security headers."""

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
MAX_FORM_BYTES = 3 * 1024 * 1024
MAX_FORM_S = 30.0
# Without a session: a name, a password and tokens. There may be thousands of such clients.
MAX_ANONYMOUS_BYTES = 16 * 1024
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
_UNAVAILABLE = "Redis does not answer, so nothing can be shown or done. No records are lost."
_FULL = "Redis has no memory left for this. No records are lost: purge dead letters to make room."
_HALF_DONE = """ Your action may have been completed, in part or not at all: if it began, the audit
log has an entry for it."""
_GONE = "It does not exist, or not any more: it may have been replayed or purged meanwhile."
# Two leading slashes would name another host. The text may come from anyone, so it is matched in
# one pass.
_LOCAL_PATH = re.compile(r"/(?!/)[A-Za-z0-9_/-]*")


@dataclass(frozen=True, slots=True)
class FormRequest:
    """What a handler gets: a GET, or a submitted form."""

    method: str
    path: str
    params: Mapping[str, str]
    query: Mapping[str, str]
    form: Mapping[str, str]
    cookies: Mapping[str, str]
    address: str
    https: bool
    same_site: bool
    session: Session | None = None
    user: str = ""
    token: str = ""


class NotFound(Exception):
    """There is no such page, destination or record."""


Handler = Callable[[FormRequest], Response]
Predicate = Callable[[FormRequest], object]


def endpoint(
    handler: Handler, route: str, is_signed_in: Predicate = lambda _: False
) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint that runs a handler in a thread, since it talks to Redis and vendors.

    Only clients that are signed in may send a large form; from others it counts as empty.
    """

    async def serve(request: Request) -> Response:
        if info := request.scope.get("gateway.request_info"):
            info.route = route
        try:
            return await respond(request)
        except RedisError as error:
            title, text = "Redis is unavailable", _UNAVAILABLE
            if is_out_of_memory(error):
                title, text = "Redis is full", _FULL
            text += _HALF_DONE if request.method == "POST" else ""
            return page(503, "error.html", title=title, text=text)

    async def respond(request: Request) -> Response:
        try:
            body = await _body(request, is_signed_in) if request.method == "POST" else b""
        except ClientDisconnect:
            return Response(status_code=400)
        except TimeoutError:
            text = "The form did not arrive in time."
            return page(408, "error.html", title="Too slow", text=text)
        if body is None:
            return page(413, "error.html", title="Too large", text="This form is too large.")
        return await run_in_threadpool(handler, _form_request(request, body))

    return serve


async def _body(request: Request, is_signed_in: Predicate) -> bytes | None:
    """Return the submitted form, or None if it is too large; TimeoutError if it is too slow."""
    parts, size, limit = [], 0, MAX_ANONYMOUS_BYTES
    async with asyncio.timeout(MAX_FORM_S):
        async for part in request.stream():
            size += len(part)
            if size > limit == MAX_ANONYMOUS_BYTES:
                if not await run_in_threadpool(is_signed_in, _form_request(request, b"")):
                    return b""
                limit = MAX_FORM_BYTES
            if size > limit:
                return None
            parts.append(part)
    return b"".join(parts)


def _form_request(request: Request, body: bytes) -> FormRequest:
    try:
        form = dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=50))
    except ValueError:
        form = {}
    # Browsers that do not send this header are held by the form's token alone.
    site = request.headers.get("sec-fetch-site", "same-origin")
    return FormRequest(
        method=request.method,
        path=request.url.path,
        params=request.path_params,
        query=dict(request.query_params),
        form=form,
        cookies=request.cookies,
        address=request.client.host if request.client else "",
        https=request.url.scheme == "https",
        same_site=site in {"same-origin", "none"},
    )


def page(status: int, template: str, **values: Any) -> Response:
    """Render a page, with its headers."""
    return HTMLResponse(render(template, **values), status, headers=HEADERS)


def user_page(
    request: FormRequest, template: str, menu: str, values: Mapping[str, Any], status: int = 200
) -> Response:
    """Render a page for a signed-in user; ``menu`` is the current menu item."""
    session = {"user": request.user, "token": request.token}
    return page(status, template, menu=menu, **session, **values)


def error_page(request: FormRequest, status: int, title: str, text: str) -> Response:
    """Show an error to a signed-in user."""
    return user_page(request, "error.html", "", {"title": title, "text": text}, status)


def not_found(request: FormRequest) -> Response:
    """Show that there is no such page, destination or record."""
    return error_page(request, 404, "Not found", _GONE)


def redirect(path: str) -> Response:
    """Redirect to a GET, so that reloading does not submit the form again."""
    return Response(status_code=303, headers={**HEADERS, "location": path})


def local_path(path: str) -> str:
    """Return the path if it is a plain one of this site, else the first page."""
    return path if _LOCAL_PATH.fullmatch(path) else "/"
