"""Read-back in tests: accounts, events in a sandbox, and responses of a vendor."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from support.in_process import client_of
from support.vendor import Exchange, LoopbackVendor, Play
from worker.readback.client import Reader
from worker.sandbox.ledger import LedgerRecord
from worker.sandbox.server import Running, create_app
from worker.sandbox.settings import SandboxSettings
from worker.sandbox.state import SandboxState
from worker.settings.destination import Destination, KindSettings
from worker.vendors.clevertap.account import CleverTapAccount
from worker.vendors.clevertap.reads import ClevertapReads
from worker.vendors.protocol import Kind, Request, Response, UploadResult
from worker.vendors.secret import Secret

# One moment for all tests: one that runs across midnight still has one day.
NOW = int(time.time())
DAY = time.strftime("%Y%m%d", time.gmtime(NOW))
NAME = "Product viewed"
SANDBOX = SandboxSettings()


def account(base_url: str, **changed: Any) -> Destination:
    """Return the sandbox's account at an address, with short waits."""
    quick: dict[str, Any] = {
        "name": "main",
        "account": CleverTapAccount(
            account_id=SANDBOX.account_id, passcode=Secret(SANDBOX.passcode)
        ),
        "kinds": {Kind.EVENT: KindSettings(1000)},
        "enabled": True,
        "base_url": base_url,
        "request_timeout_s": 20.0,
        "backoff_base_s": 0.01,
        "backoff_cap_s": 0.05,
        "count_poll_s": 0.01,
    }
    return Destination(**quick | changed)


def environment_of(base_url: str, **more: str) -> Mapping[str, str]:
    """Return the environment of commands for that account."""
    return {
        "CLEVERTAP_BASE_URL": base_url,
        "CLEVERTAP_ACCOUNT_ID": SANDBOX.account_id,
        "CLEVERTAP_PASSCODE": SANDBOX.passcode,
        "INGEST_BACKOFF_BASE_S": "0.05",
        "INGEST_COUNT_POLL_S": "0.05",
        **more,
    }


def fill(sandbox: Running | LocalSandbox, size: int, name: str = NAME, filler: str = "") -> None:
    """Add events of today to the sandbox, numbered from 0 in their property ``n``."""
    for first in range(0, size, 1000):
        rows = [
            LedgerRecord("clevertap", "event", name, NOW, _event(name, NOW, number, filler))
            for number in range(first, min(first + 1000, size))
        ]
        sandbox.state.ledger.add("clevertap", rows)


def _event(name: str, ts: int, number: int, filler: str) -> bytes:
    data = {"n": number, "Text": filler}
    return orjson.dumps(
        {"identity": f"i{number}", "type": "event", "evtName": name, "ts": ts, "evtData": data}
    )


def numbers(lines: bytes) -> list[int]:
    """Return the ``n`` of each event in JSON Lines; fail for a truncated line."""
    return [orjson.loads(line)["event_props"]["n"] for line in lines.splitlines()]


def says(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Play:
    """Return a play that responds with this JSON value, or these bytes."""

    def play(exchange: Exchange) -> None:
        exchange.body(exchange.head())
        exchange.answer(status, body, headers)

    return play


@dataclass(slots=True)
class ScriptedVendor:
    """A transport with prepared responses: the next of the `script`, or the `usual` one."""

    usual: Response | Callable[[Request], Response] = field(default_factory=lambda: reply(b"", 500))
    requests: list[Request] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    _script: deque[Response] = field(default_factory=deque)

    def script(self, *responses: Response) -> None:
        """Respond to the next requests with these, one each."""
        self._script.extend(responses)

    def send(self, request: Request) -> Response | UploadResult:
        """Return the response to a request."""
        self.requests.append(request)
        if self._script:
            return self._script.popleft()
        return self.usual(request) if callable(self.usual) else self.usual

    def stop_by(self, seconds: float) -> None:
        """Do nothing: no request takes time."""

    @property
    def paths(self) -> list[str]:
        """Return the paths of the requests."""
        return [each.path for each in self.requests]

    def reader(self) -> Reader:
        """Return a reader of this vendor that does not wait."""
        to = account("http://vendor.invalid")
        reads = ClevertapReads(to.account.adapter(to.base_url))
        return Reader(to, reads, self, sleep=self.waits.append)


class LocalSandbox:
    """A sandbox without a server, and a transport to it."""

    def __init__(self, settings: SandboxSettings) -> None:
        app = create_app(settings)
        self.state: SandboxState = app.state
        self._client = client_of(app)

    def send(self, request: Request) -> Response | UploadResult:
        """Return the response to a request."""
        answer = self._client.request(
            request.method, request.path, headers=request.headers, content=request.content
        )
        return Response(answer.status_code, answer.headers, answer.content)

    def stop_by(self, seconds: float) -> None:
        """Do nothing: no request takes time."""

    def reader(self, sleep: Callable[[float], object] = lambda _: None, **changed: Any) -> Reader:
        """Return a reader of this sandbox that does not wait."""
        to = account("http://vendor.invalid", **changed)
        return Reader(to, ClevertapReads(to.account.adapter(to.base_url)), self, sleep=sleep)


def reply(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a response with this JSON value, or these bytes."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return Response(status, headers or {}, content)


def breaks_off(exchange: Exchange) -> None:
    """Read the request, and reset the connection."""
    exchange.body(exchange.head())
    exchange.reset()


def paths(vendor: LoopbackVendor) -> list[str]:
    """Return the paths of the requests' first lines, byte for byte."""
    return [each.path for each in vendor.requests]
