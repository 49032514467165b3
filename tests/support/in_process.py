"""An ASGI application without a server: its requests reach it by calls, not through sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx


class InProcess(httpx.BaseTransport):
    """Answers each request of a blocking client by the application."""

    def __init__(self, app: Any) -> None:
        self._transport = httpx.ASGITransport(app)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return asyncio.run(self._answer(request))

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        answer = await self._transport.handle_async_request(request)
        return httpx.Response(
            answer.status_code, headers=answer.headers, content=await answer.aread()
        )


def client_of(app: Any, headers: Mapping[str, str] | None = None) -> httpx.Client:
    """Return a client of an application in this process."""
    return httpx.Client(
        transport=InProcess(app), base_url="http://in-process.invalid", headers=headers
    )
