"""The outermost application."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Receive, Scope, Send

from support.gateway import request_app
from worker.gateway.server.endpoint import RequestInfo
from worker.gateway.server.middleware import Middleware


def test_middleware_on_an_unhandled_exception_answers_500_without_its_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The client and the log see nothing of the error's text, and observers are called."""
    observed: list[tuple[str, int]] = []

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("jane.doe@example.com")

    def observe(method: str, info: RequestInfo, status: int, seconds: float) -> None:
        del info, seconds
        observed.append((method, status))

    answer = asyncio.run(request_app(Middleware(broken, [observe]), "POST", "/1/upload"))
    assert answer.status == 500
    assert answer.json() == {"status": "fail", "error": "Internal error", "code": 500}
    assert observed == [("POST", 500)]
    assert "jane" not in caplog.text
