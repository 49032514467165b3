"""The one way out to a vendor: httpx, with a deadline that holds whatever the other side does.

httpx's own timeouts bound each read, so a vendor that sends a byte a second would hold a request
for ever, past its lease. Here every socket operation gets what is left until the deadline.

What a failure means is decided by what the vendor can have received: a request of which it lacks a
single byte cannot have been carried out; one that left us whole may have been.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import httpcore
import httpx

from ..errors import SettingsError
from .protocol import Request, Response, ResponseClass, UploadResult
from .secret_headers import hidden

MAX_ANSWER_BYTES = 64 * 1024 * 1024  # 5000 exported events a page, or 1000 echoed records
#: Everything httpcore may raise; a test holds this to its list.
FAILURES = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
    httpcore.ConnectionNotAvailable,
)


class Transport:
    """Sends requests to one address; safe to share between threads, not across a fork.

    ``timeout_s`` bounds a whole request, from connecting to the answer's last byte. Redirects are
    never followed: they would carry credentials to another host. SettingsError when ``base_url`` is
    no address, so that a mistake in it is found at start and not by a batch.
    """

    def __init__(
        self,
        base_url: str,
        *,
        timeout_s: float,
        connections: int = 32,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._base_url = _checked(base_url)
        self._timeout_s = timeout_s
        self._deadlines = _Deadlines(clock)
        pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=30.0,
            network_backend=_Backend(self._deadlines),
        )
        self._client = httpx.Client(
            transport=_PoolTransport(pool, self._deadlines), trust_env=False
        )

    def send(self, request: Request) -> Response | UploadResult:
        """The vendor's response; or what it means that there is none (unreachable, ambiguous)."""
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
            except FAILURES as error:
                whole = progress.whole
                text = _text("no whole answer" if whole else "request not sent", error)
                return UploadResult(
                    ResponseClass.AMBIGUOUS if whole else ResponseClass.UNREACHABLE,
                    error=hidden(request.headers, text),
                )
        return Response(
            response.status_code,
            dict(response.headers),
            response.content,
            too_large=_TOO_LARGE in response.extensions,
        )

    def stop_by(self, seconds: float) -> None:
        """Let no request, present or future, go on longer than so many seconds from now."""
        self._deadlines.stop_by(seconds)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()


def _checked(base_url: str) -> str:
    """The address without a slash at its end, once it is known to be one."""
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as error:
        raise SettingsError(f"base_url: {error}") from error
    if url.scheme not in ("http", "https") or not url.host or not 0 < (url.port or 80) < 65536:
        raise SettingsError(
            "base_url: must be a scheme and a host, as in https://api.clevertap.com"
        )
    return base_url.rstrip("/")


def _text(what: str, error: Exception) -> str:
    """The kind of failure in words; not a local protocol error's own, which quote our headers."""
    detail = "" if isinstance(error, httpcore.LocalProtocolError) else str(error)
    return f"{what}: {type(error).__name__}{': ' + detail[:200] if detail else ''}"


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


_TOO_LARGE = "too_large"
_SLICE_S = 1.0  # a wait is cut into slices, so that `stop_by` reaches requests under way


class _Stream(httpcore.NetworkStream):
    """A socket whose operations end at the deadline."""

    def __init__(self, stream: httpcore.NetworkStream, deadlines: _Deadlines) -> None:
        self._stream = stream
        self._deadlines = deadlines

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        del timeout  # here and below: the deadline stands in its place
        while (left := self._deadlines.left()) > 0:
            try:
                return self._stream.read(max_bytes, timeout=min(left, _SLICE_S))
            except httpcore.ReadTimeout:
                continue
        raise httpcore.ReadTimeout("deadline passed")

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write to the last byte. httpcore's own bounds each piece that the other side takes, so
        one that reads a little at a time would hold us past the deadline."""
        del timeout
        progress = self._deadlines.progress
        sending: socket.socket = self._stream.get_extra_info("socket")
        left_over = memoryview(buffer)
        try:
            while left_over:
                if (left := self._deadlines.left()) <= 0:
                    raise httpcore.WriteTimeout("deadline passed")
                sending.settimeout(min(left, _SLICE_S))
                with contextlib.suppress(TimeoutError):
                    left_over = left_over[sending.send(left_over) :]
        except OSError as error:
            progress.broken = True
            raise httpcore.WriteError(str(error)) from error
        except httpcore.WriteTimeout:
            progress.broken = True
            raise
        progress.written = True

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        del timeout
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
        del timeout
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host}: {error}") from error
        # A name may stand for several addresses: each gets its share of the time that is left, else
        # a few that do not answer would take a request past its lease.
        addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
        for others, address in zip(range(len(addresses) - 1, -1, -1), addresses, strict=True):
            share = max(0.001, self._deadlines.left() / (others + 1))
            try:
                stream = self._backend.connect_tcp(
                    address,
                    port,
                    timeout=share,
                    local_address=local_address,
                    socket_options=socket_options,
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if not others:
                    raise
            else:
                return _Stream(stream, self._deadlines)
        raise httpcore.ConnectError(f"{host}: no address")


class _PoolTransport(httpx.BaseTransport):
    """Joins httpx's client to httpcore's pool; answers are read to their end, up to a size."""

    def __init__(self, pool: httpcore.ConnectionPool, deadlines: _Deadlines) -> None:
        self._pool = pool
        self._deadlines = deadlines

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
            extensions={"timeout": {"pool": max(0.001, self._deadlines.left())}},
        )
        answer = self._pool.handle_request(outgoing)
        try:
            content = _read(answer)
        finally:
            answer.close()
        # What was unfolded must not be unfolded again.
        kept = [each for each in answer.headers if each[0].lower() != b"content-encoding"]
        told = {} if content is not None else {_TOO_LARGE: True}
        return httpx.Response(answer.status, headers=kept, content=content or b"", extensions=told)

    def close(self) -> None:
        self._pool.close()


class _Raw(httpx.SyncByteStream):
    """What comes, as it comes."""

    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        return self._answer.iter_stream()


def _read(answer: httpcore.Response) -> bytes | None:
    """The whole body, unfolded; None when it is too large, of which a little says nothing: half a
    megabyte of gzip may be half a gigabyte.

    What breaks off counts as empty, but in a success: there the body is the answer, and elsewhere
    the status has told enough. A compression that cannot be undone hides the words, not the status.
    """
    chunks, size = [], 0
    coming = httpx.Response(answer.status, headers=answer.headers, stream=_Raw(answer))
    try:
        for chunk in coming.iter_bytes():
            size += len(chunk)
            if size > MAX_ANSWER_BYTES:
                return None
            chunks.append(chunk)
    except httpx.DecodingError:
        return b""
    except FAILURES:
        if 200 <= answer.status <= 299:
            raise
        return b""
    return b"".join(chunks)
