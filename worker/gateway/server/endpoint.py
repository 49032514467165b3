"""The gateway's requests, responses, errors and endpoints: plain ASGI, because a framework's
wrappers would be a third of the cost of a request."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

import orjson
from starlette.types import Receive, Scope, Send

REQUEST_INFO = "gateway.request_info"
Headers = Sequence[tuple[bytes, bytes]]
# Servers drop the body of a response to HEAD, so it is handled as GET.
_METHODS = {"GET": ("GET", "HEAD"), "POST": ("POST",)}
# A proxy in front may use the first of two values, while we would use the last.
_SINGLE_VALUED = frozenset(
    b"authorization content-encoding idempotency-key"
    b" x-clevertap-account-id x-clevertap-passcode".split()
)


class ClientDisconnected(Exception):
    """The client disconnected before its request was complete; there is nothing to answer."""


class HttpError(Exception):
    """Ends a request as a whole: nothing was enqueued, unless the text says so.

    Each vendor's endpoint gives status and text its own shape. ``retry_after_s`` is rounded up to
    whole seconds.
    """

    def __init__(
        self, status: int, text: str, *, retry_after_s: float | None = None, **headers: str
    ) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        if retry_after_s is not None:
            headers = {"retry-after": str(max(1, math.ceil(retry_after_s))), **headers}
        self.headers = [(name.encode(), value.encode()) for name, value in headers.items()]


@dataclass(slots=True)
class RequestInfo:
    """What an access log or a metric may contain of a request: no raw path, no content."""

    route: str = ""
    producer: str = ""
    destination: str = ""
    records: int = 0
    rejected: int = 0


class HttpRequest:
    """A request, and what is known about it so far."""

    __slots__ = ("headers", "info", "method", "path", "query", "receive", "scope")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope["query_string"]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.receive = receive
        self.info: RequestInfo = scope.get(REQUEST_INFO) or RequestInfo()

    def check_headers(self) -> None:
        """Raise HttpError 400 when a header that decides something has two different values."""
        given = self.scope["headers"]
        if len(given) == len(self.headers):
            return
        for name, value in given:
            if value != self.headers[name] and name in _SINGLE_VALUED:
                raise HttpError(400, f"{name.decode()}: was given twice, with different values")

    def header(self, name: bytes) -> str:
        """Return a header's value, stripped; empty when it is absent."""
        return self.headers.get(name, b"").decode("latin-1").strip()


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response; ``headers`` does not include its type and length."""

    status: int
    body: bytes
    headers: Headers = ()
    content_type: bytes = b"application/json"

    async def send(self, send: Send) -> None:
        length = str(len(self.body)).encode()
        common = ((b"content-type", self.content_type), (b"content-length", length))
        headers = [*common, *self.headers]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


class Endpoint(ABC):
    """One path, one method, and one shape of errors."""

    path: str
    method: str = "GET"

    @abstractmethod
    async def handle(self, request: HttpRequest) -> HttpResponse:
        """Return the response; raise HttpError to end the request as a whole."""

    def error_response(self, error: HttpError) -> HttpResponse:
        """Return an error in the shape of the API that the endpoint is compatible with."""
        return HttpResponse(error.status, orjson.dumps({"error": error.text}), error.headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = HttpRequest(scope, receive)
        request.info.route = self.path
        try:
            if request.method not in _METHODS[self.method]:
                raise HttpError(405, "Method not allowed", allow=", ".join(_METHODS[self.method]))
            request.check_headers()
            response = await self.handle(request)
        except HttpError as error:
            response = self.error_response(error)
        except ClientDisconnected:
            return
        await response.send(send)


class FixedResponse(Endpoint):
    """Answers every GET of a path with the same JSON."""

    def __init__(self, path: str, body: bytes) -> None:
        self.path = path
        self._response = HttpResponse(200, body)

    async def handle(self, _: HttpRequest) -> HttpResponse:
        return self._response


def parameter(query: bytes, name: str) -> set[str]:
    """Return the decoded values of a query parameter; its name may be in any case."""
    if not query:
        return set()
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    return {value for key, value in pairs if key.lower() == name.lower()}
