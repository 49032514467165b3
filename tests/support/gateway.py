"""The HTTP gateway, in this process or as a real one, and what it puts into Redis."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
import orjson
import pytest
import redis
from starlette.types import ASGIApp, Message, Receive

from support.environment import environment
from support.polling import poll_until
from support.ports import find_free_port
from support.processes import Process, Processes
from worker.buffer import keys
from worker.buffer.records import unpack
from worker.gateway.app import create_app
from worker.gateway.auth.api_keys import KeyTable
from worker.gateway.server.middleware import Middleware

T = TypeVar("T")
PROJECT = "/track/v2/projects/bloomreach"
PARTITIONS = 8
# Redis, or we, may be paused for a second on a machine that runs tests side by side.
PATIENT = {"INGEST_GATEWAY_REDIS_TIMEOUT_S": "5"}


@dataclass(frozen=True, slots=True)
class GatewayResponse:
    """A response; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body, parsed."""
        return orjson.loads(self.body)


def event(identity: str = "42", **changed: Any) -> dict[str, Any]:
    """Return a valid CleverTap event."""
    return {"type": "event", "identity": identity, "evtName": "Viewed", "evtData": {}, **changed}


def profile(identity: str = "42", **properties: Any) -> dict[str, Any]:
    """Return a valid CleverTap profile, unless ``properties`` break a rule."""
    return {"type": "profile", "identity": identity, "profileData": properties or {"Name": "A"}}


def tracked(customer: str = "42", **changed: Any) -> dict[str, Any]:
    """Return a valid Bloomreach event."""
    return {
        "customer_ids": {"registered": customer},
        "event_type": "viewed",
        "properties": {},
        **changed,
    }


async def request_app(
    app: ASGIApp,
    method: str,
    target: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | Sequence[bytes] = b"",
    coming: Receive | None = None,
) -> GatewayResponse:
    """Send a request to an application of this event loop; a sequence is a body in parts.

    With ``coming`` the body's parts are what that gives instead.
    """
    path, _, query = target.partition("?")
    parts = [body] if isinstance(body, bytes) else list(body)
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode("latin-1"),
        "headers": [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in (headers or {}).items()
        ],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
    messages = [
        {"type": "http.request", "body": part, "more_body": at < len(parts) - 1}
        for at, part in enumerate(parts)
    ]
    sent: list[Message] = []

    async def receive() -> Message:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, coming or receive, send)
    got = {name.decode(): value.decode("latin-1") for name, value in sent[0]["headers"]}
    return GatewayResponse(
        sent[0]["status"], got, b"".join(each.get("body", b"") for each in sent[1:])
    )


class LocalGateway:
    """A gateway in this process; its application lives as long as one `run`."""

    def __init__(self, url: str, key: str, client: redis.Redis, **environ: str) -> None:
        self.key = key
        self.client = client
        self.environ = {"REDIS_URL": url, **PATIENT, **environ}
        self.app: Middleware

    def run(self, talk: Callable[[LocalGateway], Awaitable[T]]) -> T:
        """Run requests against a new application."""
        return asyncio.run(self.within(talk))

    async def within(self, talk: Callable[[LocalGateway], Awaitable[T]]) -> T:
        """Run requests against a new application, in the running event loop."""
        self.app = create_app(self.environ)
        try:
            return await talk(self)
        finally:
            await end(self.app)

    async def upload(self, *records: Any, query: str = "", **headers: str) -> GatewayResponse:
        """Upload records as CleverTap's clients do."""
        return await self.upload_bytes(orjson.dumps({"d": records}), query=query, **headers)

    async def upload_bytes(
        self, body: bytes | Sequence[bytes], *, query: str = "", **headers: str
    ) -> GatewayResponse:
        """Upload a body as it is; header names have `_` for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        given = {"X-CleverTap-Account-Id": "ACC", "X-CleverTap-Passcode": self.key, **named}
        return await request_app(self.app, "POST", f"/1/upload{query}", headers=given, body=body)

    async def track(
        self, name: str, body: Any, method: str = "POST", **headers: str
    ) -> GatewayResponse:
        """Call a Bloomreach endpoint; a body that is not bytes is sent as JSON."""
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        given = {"Authorization": f"Token {self.key}", **named}
        return await request_app(self.app, method, f"{PROJECT}/{name}", headers=given, body=raw)

    def buffered(self, kind: str = "event", destination: str = "clevertap") -> list[dict[str, Any]]:
        """Return the records of one kind that are in Redis."""
        return buffered(self.client, kind, destination)


async def end(app: Middleware) -> None:
    """Shut the application down, as a server does."""
    messages: list[Message] = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive() -> Message:
        return messages.pop(0)

    async def send(_: Message) -> None:
        return

    await app({"type": "lifespan", "asgi": {"version": "3.0"}}, receive, send)


def buffered(
    client: redis.Redis, kind: str = "event", destination: str = "clevertap"
) -> list[dict[str, Any]]:
    """Return the records of one kind that are in Redis, partition by partition."""
    found: list[dict[str, Any]] = []
    for partition in range(PARTITIONS):
        stored: list[bytes] = client.lrange(keys.pending(destination, kind, partition), 0, -1)  # type: ignore[assignment] # a blocking client
        found += [orjson.loads(unpack(each).body) for each in stored]
    return found


LocalGatewayFactory = Callable[..., LocalGateway]


@pytest.fixture
def gateway_factory(redis_client: redis.Redis, redis_url: str) -> LocalGatewayFactory:
    """Return a function that makes a gateway in this process, with settings of the test."""
    key = KeyTable(redis_client).create("shop")

    def make(**environ: str) -> LocalGateway:
        return LocalGateway(redis_url, key, redis_client, **environ)

    return make


@pytest.fixture
def gateway(gateway_factory: LocalGatewayFactory) -> LocalGateway:
    """Return a gateway in this process with default settings."""
    return gateway_factory()


@dataclass(frozen=True, slots=True)
class GatewayProcess:
    """A gateway in a separate process."""

    url: str
    port: int
    process: Process

    def request(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> GatewayResponse:
        """Send a request over a new connection."""
        got = httpx.request(
            method, self.url + target, headers=headers, content=body, timeout=60, trust_env=False
        )
        return GatewayResponse(got.status_code, dict(got.headers), got.content)


GatewayProcessFactory = Callable[..., GatewayProcess]


@pytest.fixture
def start_gateway(processes: Processes) -> GatewayProcessFactory:
    """Return a function that starts a real gateway and waits until it answers."""

    def start(url: str, **environ: str) -> GatewayProcess:
        port = find_free_port()
        env = environment({"REDIS_URL": url, "PORT": str(port), **PATIENT, **environ})
        command = [sys.executable, "-m", "worker.gateway"]
        process = processes.run(command, env=env, name="gateway")
        served = GatewayProcess(f"http://127.0.0.1:{port}", port, process)

        def answers() -> bool:
            assert process.returncode is None, process.output()
            try:
                return served.request("GET", "/healthz").status == 200
            except httpx.TransportError:
                return False

        poll_until(answers, what="the gateway answers")
        return served

    return start


async def gather_all(asked: Sequence[Awaitable[T]]) -> list[T]:
    """Return the results of several requests at once."""
    return list(await asyncio.gather(*asked))
