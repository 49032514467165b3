"""Middleware: common headers, a catch-all for unhandled exceptions, observers, an access log."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker.telemetry.logs import get_logger

from .endpoint import REQUEST_INFO, HttpResponse, RequestInfo

log = get_logger(__name__)
# A header that a page sets itself (the dashboard) is kept.
_SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_FAILED = HttpResponse(500, b'{"status":"fail","error":"Internal error","code":500}')

# Method, request info, status (0 when the client disconnected), seconds.
Observer = Callable[[str, RequestInfo, int, float], None]


class Middleware:
    """The outermost application; it calls each observer after every request."""

    def __init__(self, app: ASGIApp, observers: Sequence[Observer] = ()) -> None:
        self.app = app
        self.observers = list(observers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan events."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0
        info = scope[REQUEST_INFO] = RequestInfo()

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = list(message.get("headers", ()))
                present = {name for name, _ in headers}
                missing = [each for each in _SECURITY if each[0] not in present]
                message["headers"] = headers + missing
            await send(message)

        try:
            await self.app(scope, receive, sending)
        except Exception as error:
            log.exception("a request failed", route=info.route, error=type(error).__name__)
            if not status:
                await _FAILED.send(sending)
        for observer in self.observers:
            observer(scope["method"], info, status, time.perf_counter() - started)


def access_log(which: str) -> list[Observer]:
    """Return the observer that logs "all" requests or only "errors", or no observer for "none".

    It never logs the raw path, the query, the headers or the body: they may hold keys and personal
    data.
    """
    lowest = 400 if which == "errors" else 0

    def observe(method: str, info: RequestInfo, status: int, seconds: float) -> None:
        if status < lowest:
            return
        log.info(
            "request",
            method=method if method in _METHODS else "other",
            route=info.route or "unknown",
            status=status,
            ms=round(seconds * 1000, 1),
            producer=info.producer,
            destination=info.destination,
            records=info.records,
            refused=info.rejected,
        )

    return [] if which == "none" else [observe]
