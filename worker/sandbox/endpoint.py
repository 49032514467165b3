"""A vendor request through the sandbox: limiter, faults, response.

It speaks ASGI directly, because a response object cannot break a connection.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from worker.sandbox.faults import Plan
from worker.sandbox.state import LoggedRequest, SandboxState

TRANSPORT = "sandbox.transport"
_BODILESS = (204, 304)  # a body behind one of these would be read as the next answer


@dataclass(frozen=True, slots=True)
class VendorRequest:
    """A request, whole. ``path`` is decoded, ``query`` as it came."""

    method: str
    path: str
    query: bytes
    headers: Headers
    body: bytes

    def parameter(self, name: str) -> str | None:
        """Return the first value of a query parameter, decoded once; None if absent."""
        pairs = parse_qsl(self.query.decode("latin-1"), keep_blank_values=True)
        return next((value for key, value in pairs if key == name), None)


@dataclass(frozen=True, slots=True)
class VendorResponse:
    """A response, with what the request log says of it."""

    status: int
    body: bytes
    headers: Sequence[tuple[str, str]] = ()
    content_type: str = "application/json"
    records: int = 0
    refused: int = 0


class Limiter(Protocol):
    """See `worker.sandbox.limiters`."""

    def entered(self) -> AbstractContextManager[bool]:
        """Enter, and yield whether the request is allowed; it counts until the block ends."""


class Api(Protocol):
    """The responses a vendor gives at every path."""

    vendor: str
    content_type: str

    def too_many(self) -> VendorResponse:
        """Answer a request over the limit."""

    def failing(self, status: int, error: str | None) -> VendorResponse:
        """Answer as a vendor that fails."""

    def empty(self) -> VendorResponse:
        """Answer that every record is refused, naming none."""


class Endpoint:
    """An ASGI endpoint: one path of one vendor."""

    def __init__(
        self,
        state: SandboxState,
        api: Api,
        answer: Callable[[VendorRequest], VendorResponse],
        limiter: Limiter,
        latency_ms: float = 0.0,
    ) -> None:
        self._state, self._api, self._answer = state, api, answer
        self._limiter, self._latency_ms = limiter, latency_ms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        with self._limiter.entered() as let_in:
            body = await _read(receive)
            if body is None:
                return
            call = VendorRequest(
                scope["method"], scope["path"], scope["query_string"], Headers(scope=scope), body
            )
            plan = self._state.faults.plan(self._api.vendor, call.path) if let_in else Plan()
            if let_in and (delay_ms := plan.delay_ms + self._latency_ms):
                await asyncio.sleep(delay_ms / 1000)
            answer = self._played(call, plan) if let_in else self._api.too_many()
            dropped = plan.rule is not None and plan.rule.kind == "drop"
            self._note(call, plan, answer, 0 if dropped else answer.status, started)
            await self._deliver(scope, receive, send, answer, plan)

    def _played(self, call: VendorRequest, plan: Plan) -> VendorResponse:
        """Return the true response, or what a fault makes of it."""
        rule = plan.rule
        if rule is None:
            return self._answer(call)
        true = self._answer(call) if rule.apply else self._api.failing(500, None)
        if rule.kind == "http":
            return self._ordered(plan)
        if rule.kind == "nonsense":
            return VendorResponse(
                200, b"<html><body>It works!</body></html>", content_type="text/html"
            )
        return self._api.empty() if rule.kind == "empty" else true

    def _ordered(self, plan: Plan) -> VendorResponse:
        rule = plan.rule
        assert rule is not None  # noqa: S101 - its only caller has looked
        headers = [] if rule.retry_after is None else [("retry-after", rule.retry_after)]
        answer = self._api.failing(rule.status, rule.error)
        body = answer.body if rule.body is None else rule.body.encode()
        body = b"" if rule.status in _BODILESS else body
        return VendorResponse(rule.status, body, headers, self._api.content_type)

    def _note(
        self, call: VendorRequest, plan: Plan, answer: VendorResponse, status: int, started: float
    ) -> None:
        self._state.ledger.of(self._api.vendor).requests[status] += 1
        self._state.seen.append(
            LoggedRequest(
                self._state.clock(),
                self._api.vendor,
                call.method,
                call.path,
                len(call.body),
                status,
                (time.perf_counter() - started) * 1000,
                answer.records,
                answer.refused,
                plan.rule.kind if plan.rule else "delay" if plan.delay_ms else "",
            )
        )

    async def _deliver(
        self, scope: Scope, receive: Receive, send: Send, answer: VendorResponse, plan: Plan
    ) -> None:
        kind = plan.rule.kind if plan.rule else ""
        if kind == "drop":
            await _hang_up(scope, receive, at_once=True)
            return
        await send(_head(answer))
        if kind == "truncate":
            half = answer.body[: len(answer.body) // 2]
            await send({"type": "http.response.body", "body": half, "more_body": True})
            await _hang_up(scope, receive, at_once=False)
            return
        await send({"type": "http.response.body", "body": answer.body})


def _head(answer: VendorResponse) -> Message:
    headers = [
        ("content-type", answer.content_type),
        ("content-length", str(len(answer.body))),
        *answer.headers,
    ]
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return {"type": "http.response.start", "status": answer.status, "headers": encoded}


async def _read(receive: Receive) -> bytes | None:
    """Read the whole body; None if the client disconnected before its end."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


async def _hang_up(scope: Scope, receive: Receive, *, at_once: bool) -> None:
    """Break the connection: at once, or when what was written has gone out."""
    transport: Any = scope.get(TRANSPORT)
    if transport is None:
        raise RuntimeError("this server gives no way to break a connection; uvicorn does")
    (transport.abort if at_once else transport.close)()
    # uvicorn would send an answer of its own to a request that ends before its connection does.
    while (await receive())["type"] != "http.disconnect":
        pass
