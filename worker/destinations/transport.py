"""The one way out to a vendor: httpx, with a deadline that holds whatever the other side does.

httpx's own timeouts bound each read, so a vendor that sends a byte a second would hold a request for
ever, past its lease. Here every socket operation gets what is left until the request's deadline.

What a failure means is decided by what the vendor can have received: a request of which it lacks a
single byte cannot have been carried out; one that left us whole may have been.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpcore
import httpx

from ..verdicts import Answer, Meaning, Request, Response

MAX_ANSWER_BYTES = 64 * 1024 * 1024  # 5000 exported events a page, or 1000 echoed records
_CHUNK = 65536


class Transport:
    """Sends requests to one address; safe to share between threads, not across a fork.

    ``timeout_s`` bounds a whole request, from connecting to the answer's last byte. Redirects are
    never followed: they would carry credentials to another host.
    """

    def __init__(
        self,
        base_url: str,
        *,
        timeout_s: float,
        connections: int = 32,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._timeout_s = timeout_s
        self._deadlines = _Deadlines(clock)
        pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=30.0,
            network_backend=_Backend(self._deadlines),
        )
        self._client = httpx.Client(transport=_PoolTransport(pool), trust_env=False)

    def send(self, request: Request) -> Response | Answer:
        """The vendor's response; or, when there is none, what that means (unreachable, ambiguous)."""
        outgoing = httpx.Request(
            request.method,
            httpx.URL(self._base_url + request.path),
            headers=request.headers,
            content=request.content,
            # A cursor is to go out as it came; an address that was parsed may not.
            extensions={"target": request.path.encode("ascii")},
        )
        with self._deadlines.request(self._timeout_s) as progress:
            try:
                response = self._client.send(outgoing, follow_redirects=False)
            except httpcore.ConnectError as error:
                return Answer(Meaning.UNREACHABLE, error=_text("cannot connect", error))
            except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as error:
                whole = progress.whole
                return Answer(
                    Meaning.AMBIGUOUS if whole else Meaning.UNREACHABLE,
                    error=_text("no whole answer" if whole else "request not sent", error),
                )
            except httpx.DecodingError:
                return Answer(Meaning.GARBLED, error="the answer's compression cannot be undone")
            except _AnswerTooLarge:
                return Answer(Meaning.GARBLED, error=f"answer above {MAX_ANSWER_BYTES} bytes")
        return Response(response.status_code, dict(response.headers), response.content)

    def stop_by(self, seconds: float) -> None:
        """Let no request, present or future, go on longer than so many seconds from now."""
        self._deadlines.stop_by(seconds)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()


def _text(what: str, error: Exception) -> str:
    """The kind of failure in words. A local protocol error quotes our own headers, so it is not quoted."""
    detail = "" if isinstance(error, httpcore.LocalProtocolError) else str(error)
    return f"{what}: {type(error).__name__}{': ' + detail[:200] if detail else ''}"


class _AnswerTooLarge(Exception):
    """The answer passed the size we are ready to hold."""


class _Progress(threading.local):
    """What one thread's request has come to."""

    deadline: float = float("inf")
    written: bool = False
    broken: bool = False

    @property
    def whole(self) -> bool:
        """Whether the request may have reached the vendor to its last byte."""
        return self.written and not self.broken


class _Deadlines:
    """Each thread's deadline, and the one for all of them when the process is to stop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._stop_at = float("inf")
        self.progress = _Progress()

    def request(self, timeout_s: float) -> _Deadlines:
        self.progress.deadline = self._clock() + timeout_s
        self.progress.written = self.progress.broken = False
        return self

    def __enter__(self) -> _Progress:
        return self.progress

    def __exit__(self, *_: object) -> None:
        self.progress.deadline = float("inf")

    def stop_by(self, seconds: float) -> None:
        self._stop_at = self._clock() + seconds

    def left(self) -> float:
        return min(self.progress.deadline, self._stop_at) - self._clock()


_SLICE_S = 1.0  # a wait is cut into slices, so that `stop_by` reaches requests under way


class _Stream(httpcore.NetworkStream):
    """A socket whose operations end at the deadline."""

    def __init__(self, stream: httpcore.NetworkStream, deadlines: _Deadlines) -> None:
        self._stream = stream
        self._deadlines = deadlines

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        while (left := self._deadlines.left()) > 0:
            try:
                return self._stream.read(max_bytes, timeout=min(left, _SLICE_S))
            except httpcore.ReadTimeout:
                continue
        raise httpcore.ReadTimeout("deadline passed")

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        progress = self._deadlines.progress
        try:
            if (left := self._deadlines.left()) <= 0:
                raise httpcore.WriteTimeout("deadline passed")
            self._stream.write(buffer, timeout=left)
            progress.written = True
        except (httpcore.WriteTimeout, httpcore.WriteError):
            progress.broken = True
            raise

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left = max(0.001, self._deadlines.left())
        stream = self._stream.start_tls(ssl_context, server_hostname, timeout=left)
        return _Stream(stream, self._deadlines)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    """Opens sockets that keep the deadline."""

    def __init__(self, deadlines: _Deadlines) -> None:
        self._backend = httpcore.SyncBackend()
        self._deadlines = deadlines

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left = max(0.001, self._deadlines.left())
        stream = self._backend.connect_tcp(
            host, port, timeout=left, local_address=local_address, socket_options=socket_options
        )
        return _Stream(stream, self._deadlines)


class _PoolTransport(httpx.BaseTransport):
    """Joins httpx's client to httpcore's pool; answers are read to their end, up to a size."""

    def __init__(self, pool: httpcore.ConnectionPool) -> None:
        self._pool = pool

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        outgoing = httpcore.Request(
            method=request.method.encode(),
            url=httpcore.URL(
                scheme=url.raw_scheme,
                host=url.raw_host,
                port=url.port,
                target=request.extensions["target"],
            ),
            headers=request.headers.raw,
            content=request.content,
            extensions={"timeout": {}},
        )
        answer = self._pool.handle_request(outgoing)
        try:
            return httpx.Response(answer.status, headers=answer.headers, content=_read(answer))
        finally:
            answer.close()

    def close(self) -> None:
        self._pool.close()


def _read(answer: httpcore.Response) -> bytes:
    chunks, size = [], 0
    for chunk in answer.iter_stream():
        size += len(chunk)
        if size > MAX_ANSWER_BYTES:
            raise _AnswerTooLarge
        chunks.append(chunk)
    return b"".join(chunks)
