"""One request and its answer, as every door of the gateway handles them. ASGI, without a framework:
a third of what a request costs would else be wrapping it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

import orjson
from starlette.types import Receive, Scope, Send

from .errors import HttpError
from .request_body import ClientDisconnected

REQUEST_INFO = "gateway.seen"
Headers = Sequence[tuple[bytes, bytes]]
# Servers send no body to HEAD, whatever they are given: it is answered as GET.
_MEANT = {"GET": ("GET", "HEAD"), "POST": ("POST",)}
# What stands before us may look at the first of two, and we would go by the last.
_GIVEN_ONCE = frozenset(
    (
        b"authorization",
        b"x-clevertap-account-id",
        b"x-clevertap-passcode",
        b"idempotency-key",
        b"content-encoding",
    )
)


@dataclass(slots=True)
class RequestInfo:
    """What an access log or a metric may know of a request: no path as it came, no content."""

    route: str = ""
    producer: str = ""
    destination: str = ""
    records: int = 0
    refused: int = 0


class Request:
    """What came, and what was found out about it so far."""

    __slots__ = ("headers", "method", "path", "query", "receive", "scope", "seen")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope["query_string"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.receive = receive
        self.seen: RequestInfo = scope.get(REQUEST_INFO) or RequestInfo()

    def check_headers(self) -> None:
        """Refused with 400 when one that decides something was given twice, with two values."""
        given = self.scope["headers"]
        if len(given) == len(self.headers):
            return
        for name, value in given:
            if value != self.headers[name] and name in _GIVEN_ONCE:
                raise HttpError(400, f"{name.decode()}: was given twice, with different values")

    def header(self, name: bytes) -> str:
        """A header's value without the space around it; empty when it is absent."""
        return self.headers.get(name, b"").decode("latin-1").strip()


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """An answer; ``headers`` are those beside type and length."""

    status: int
    body: bytes
    headers: Headers = ()
    content_type: bytes = b"application/json"

    async def send(self, send: Send) -> None:
        """Send it."""
        headers = [
            (b"content-type", self.content_type),
            (b"content-length", str(len(self.body)).encode()),
            *self.headers,
        ]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


class Endpoint(ABC):
    """An endpoint: one path, one method, and one way to say no."""

    path: str
    method: str

    @abstractmethod
    async def answer(self, request: Request) -> HttpResponse:
        """The answer; raises Refused for a request that is refused as a whole."""

    def error_response(self, refused: HttpError) -> HttpResponse:
        """A refusal in the shape of whom the door imitates; a plain one unless told otherwise."""
        return HttpResponse(refused.status, orjson.dumps({"error": refused.text}), refused.headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = Request(scope, receive)
        request.seen.route = self.path
        try:
            if request.method not in _MEANT[self.method]:
                raise HttpError(405, "Method not allowed", allow=", ".join(_MEANT[self.method]))
            request.check_headers()
            reply = await self.answer(request)
        except HttpError as refused:
            reply = self.error_response(refused)
        except ClientDisconnected:
            return
        await reply.send(send)


def parameter(query: bytes, name: str) -> set[str]:
    """The values of a query parameter, decoded; its name may be in any case."""
    if not query:
        return set()
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    return {value for key, value in pairs if key.lower() == name.lower()}
