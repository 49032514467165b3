"""Around all routes: headers that every answer has, a last net for bugs, and those who watch."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker.telemetry.logs import get_logger

from .endpoint import REQUEST_INFO, HttpResponse, RequestInfo

log = get_logger(__name__)
# A page that needs more (the dashboard) sends its own, and keeps it.
_SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
_FAILED = HttpResponse(500, b'{"status":"fail","error":"Internal error","code":500}')

# Method, what is known of the request, status (0 when the client hung up), seconds.
Observer = Callable[[str, RequestInfo, int, float], None]


class Middleware:
    """The outermost application; each observer is told of every request when it is answered."""

    def __init__(self, app: ASGIApp, observers: Sequence[Observer] = ()) -> None:
        self.app = app
        self.observers = list(observers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the process's start and end."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 0
        seen = scope[REQUEST_INFO] = RequestInfo()

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _secure(message)
            await send(message)

        try:
            await self.app(scope, receive, sending)
        except Exception as error:
            log.exception("a request failed", route=seen.route, error=type(error).__name__)
            if not status:
                await _FAILED.send(sending)
        for observer in self.observers:
            observer(scope["method"], seen, status, time.perf_counter() - began)


def _secure(message: Message) -> None:
    """Add the headers that the answer does not have."""
    headers: list[Any] = list(message.get("headers", ()))
    present = {name for name, _ in headers}
    headers += [each for each in _SECURITY if each[0] not in present]
    message["headers"] = headers
