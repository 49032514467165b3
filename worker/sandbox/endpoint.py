"""A vendor request through the sandbox: limiter, faults, response.

It speaks ASGI directly, because a response object cannot break a connection.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.datastructures import Headers, QueryParams
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from worker.sandbox.faults import FaultRule
from worker.sandbox.state import ConcurrencyLimiter, LoggedRequest, RateLimiter, SandboxState

TRANSPORT = "sandbox.transport"
_BODILESS = (204, 304)  # a body after one of these would be read as the next response


@dataclass(frozen=True, slots=True)
class VendorRequest:
    """A whole request; ``path`` is decoded."""

    method: str
    path: str
    query: QueryParams
    headers: Headers
    body: bytes

    def parameter(self, name: str) -> str | None:
        """Return the first value of a query parameter, decoded once; None if absent."""
        return next(iter(self.query.getlist(name)), None)


@dataclass(frozen=True, slots=True)
class VendorResponse:
    """A response, with its numbers for the request log."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    records: int = 0
    refused: int = 0


class VendorApi(Protocol):
    """The responses of a vendor that do not depend on the path."""

    vendor: str
    content_type: str

    def failing(self, status: int, error: str | None = None) -> VendorResponse:
        """Refuse the whole request, by default with the vendor's text for ``status``."""

    def empty(self) -> VendorResponse:
        """Refuse every record without naming one."""


class VendorEndpoint:
    """An ASGI endpoint: one path of one vendor."""

    def __init__(
        self,
        state: SandboxState,
        api: VendorApi,
        respond: Callable[[VendorRequest], VendorResponse],
        limiter: ConcurrencyLimiter | RateLimiter,
        latency_ms: float = 0.0,
    ) -> None:
        self._state, self._api, self._respond = state, api, respond
        self._limiter, self._latency_ms = limiter, latency_ms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        with self._limiter.entered() as allowed:
            given = Request(scope, receive)
            try:
                body = await given.body()
            except ClientDisconnect:
                return
            query, headers = given.query_params, given.headers
            request = VendorRequest(given.method, scope["path"], query, headers, body)
            fault = ""
            if allowed:
                delay_ms, rule = self._state.faults.plan(self._api.vendor, request.path)
                fault = rule.kind if rule else "delay" if delay_ms else ""
                if delay_ms := delay_ms + self._latency_ms:
                    await asyncio.sleep(delay_ms / 1000)
                response = self._apply(request, rule)
            else:
                response = self._api.failing(429)
            self._log(request, response, started, fault)
            await _deliver(scope, receive, send, response, fault)

    def _apply(self, request: VendorRequest, rule: FaultRule | None) -> VendorResponse:
        """Return the true response, or what a fault makes of it."""
        if rule is None:
            return self._respond(request)
        response = self._respond(request) if rule.apply else self._api.failing(500)
        if rule.kind == "http":
            headers = {} if rule.retry_after is None else {"retry-after": rule.retry_after}
            body = self._api.failing(rule.status, rule.error).body
            body = body if rule.body is None else rule.body.encode()
            body = b"" if rule.status in _BODILESS else body
            return VendorResponse(rule.status, body, headers, self._api.content_type)
        if rule.kind == "nonsense":
            html = b"<html><body>It works!</body></html>"
            return VendorResponse(200, html, content_type="text/html")
        return self._api.empty() if rule.kind == "empty" else response

    def _log(
        self, request: VendorRequest, response: VendorResponse, started: float, fault: str
    ) -> None:
        status = 0 if fault == "drop" else response.status
        self._state.ledger.of(self._api.vendor).requests[status] += 1
        self._state.request_log.append(
            LoggedRequest(
                self._state.clock(),
                self._api.vendor,
                request.method,
                request.path,
                len(request.body),
                status,
                (time.perf_counter() - started) * 1000,
                response.records,
                response.refused,
                fault,
            )
        )


async def _deliver(
    scope: Scope, receive: Receive, send: Send, response: VendorResponse, fault: str
) -> None:
    if fault == "drop":
        await _hang_up(scope, receive, at_once=True)
        return
    own = {"content-type": response.content_type, "content-length": str(len(response.body))}
    headers = Headers({**own, **response.headers}).raw
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    if fault == "truncate":
        half = response.body[: len(response.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})
        await _hang_up(scope, receive, at_once=False)
        return
    await send({"type": "http.response.body", "body": response.body})


async def _hang_up(scope: Scope, receive: Receive, *, at_once: bool) -> None:
    """Break the connection: at once, or when what was written has gone out."""
    transport: Any = scope.get(TRANSPORT)
    if transport is None:
        raise RuntimeError("cannot break a connection on this server; run it with uvicorn")
    (transport.abort if at_once else transport.close)()
    # uvicorn would send a response of its own to a request that ends before its connection does.
    while (await receive())["type"] != "http.disconnect":
        pass
