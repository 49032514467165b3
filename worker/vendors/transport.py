"""The one way out to a vendor: httpx, with a deadline for each whole request.

httpx's own timeouts bound each read, so a vendor that sends a byte a second would hold a
request past its lease. Here every socket operation gets what is left until the deadline.

The class of a failure depends on what the vendor can have received: a request that lacks a single
byte cannot have been carried out; one that was written whole may have been.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpcore
import httpx

from ..errors import SettingsError
from .protocol import Request, Response, ResponseClass, UploadResult
from .secret import hidden

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
_SLICE_S = 1.0  # a wait is cut into slices, so that `stop_by` reaches requests in flight
_LEAST_S = 0.001  # for operations that take 0 as no timeout at all


class Transport:
    """Sends requests to one address; safe to share between threads, not across a fork.

    ``timeout_s`` bounds a whole request, from connecting to the response's last byte. Redirects are
    not followed: they would carry credentials to another host. Raises SettingsError if ``base_url``
    is not an address, so that a mistake is found at start and not by a batch.
    """

    def __init__(self, base_url: str, *, timeout_s: float, connections: int = 32) -> None:
        self._base_url = _checked(base_url)
        self._timeout_s = timeout_s
        self._deadlines = _Deadlines()
        pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=30.0,
            network_backend=_Backend(self._deadlines),
        )
        transport = _PoolTransport(pool, self._deadlines)
        self._client = httpx.Client(transport=transport, trust_env=False)

    def send(self, request: Request) -> Response | UploadResult:
        """Return the response, or a result that says why there is none: unreachable, ambiguous."""
        outgoing = httpx.Request(
            request.method,
            httpx.URL(self._base_url + request.path),
            headers=request.headers,
            content=request.content,
            # A cursor must go out as it came, so the path is not parsed.
            extensions={"target": request.path.encode("ascii")},
        )
        self._deadlines.begin(self._timeout_s)
        try:
            response = self._client.send(outgoing, stream=True, follow_redirects=False)
            with contextlib.closing(response):
                content = _read(response)
        except FAILURES as error:
            # Without the words of a local protocol error, which quote our headers.
            detail = "" if isinstance(error, httpcore.LocalProtocolError) else str(error)[:200]
            what, failure = "request not sent", ResponseClass.UNREACHABLE
            if self._deadlines.thread.written:
                what, failure = "no whole answer", ResponseClass.AMBIGUOUS
            text = f"{what}: {type(error).__name__}{detail and ': ' + detail}"
            return UploadResult(failure, error=hidden(request.headers, text))
        headers = dict(response.headers)
        return Response(response.status_code, headers, content or b"", too_large=content is None)

    def stop_by(self, seconds: float) -> None:
        """End every request, present or future, that many seconds from now at the latest."""
        self._deadlines.stop_at = time.monotonic() + seconds

    def close(self) -> None:
        """Close all connections."""
        self._client.close()


def _checked(base_url: str) -> str:
    """Return the address without a trailing slash; SettingsError if it is not one."""
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as error:
        raise SettingsError(f"base_url: {error}") from error
    if url.scheme not in ("http", "https") or not url.host or not 0 < (url.port or 80) < 65536:
        raise SettingsError(
            "base_url: must be a scheme and a host, as in https://api.clevertap.com"
        )
    return base_url.rstrip("/")


class _Deadlines:
    """Each thread's deadline, and the one for all of them when the process must stop.

    ``thread.written``: the thread's request may have reached the vendor to its last byte.
    """

    def __init__(self) -> None:
        self.stop_at = float("inf")
        self.thread = threading.local()

    def begin(self, timeout_s: float) -> None:
        self.thread.deadline = time.monotonic() + timeout_s
        self.thread.written = False

    def left(self) -> float:
        return min(float(self.thread.deadline), self.stop_at) - time.monotonic()


class _Stream(httpcore.NetworkStream):
    """A socket with operations that end at the deadline; httpcore's own timeouts are not used."""

    def __init__(self, stream: httpcore.NetworkStream, deadlines: _Deadlines) -> None:
        self._stream = stream
        self._deadlines = deadlines

    def read(self, max_bytes: int, *_: Any, **__: Any) -> bytes:
        while (left := self._deadlines.left()) > 0:
            with contextlib.suppress(httpcore.ReadTimeout):
                return self._stream.read(max_bytes, timeout=min(left, _SLICE_S))
        raise httpcore.ReadTimeout("deadline passed")

    def write(self, buffer: bytes, *_: Any, **__: Any) -> None:
        """Write to the last byte. httpcore's timeout bounds each piece that the other side takes,
        so a peer that reads a little at a time would hold us past the deadline."""
        self._deadlines.thread.written = False
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
            raise httpcore.WriteError(str(error)) from error
        self._deadlines.thread.written = True

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, *_: Any, **__: Any
    ) -> httpcore.NetworkStream:
        left = max(_LEAST_S, self._deadlines.left())
        stream = self._stream.start_tls(ssl_context, server_hostname, timeout=left)
        return _Stream(stream, self._deadlines)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Backend(httpcore.SyncBackend):
    """Opens sockets that keep the deadline."""

    def __init__(self, deadlines: _Deadlines) -> None:
        self._deadlines = deadlines

    def connect_tcp(self, host: str, port: int, *_: Any, **__: Any) -> httpcore.NetworkStream:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host}: {error}") from error
        # A name may have several addresses: each gets its share of the time that is left, so that
        # a few which do not answer cannot take a request past its lease.
        addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
        failure: Exception = httpcore.ConnectError(f"{host}: no address")
        for tried, address in enumerate(addresses):
            share = max(_LEAST_S, self._deadlines.left() / (len(addresses) - tried))
            try:
                stream = super().connect_tcp(address, port, timeout=share)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _Stream(stream, self._deadlines)
        raise failure


class _PoolTransport(httpx.BaseTransport):
    """Connects httpx's client to httpcore's pool."""

    def __init__(self, pool: httpcore.ConnectionPool, deadlines: _Deadlines) -> None:
        self._pool = pool
        self._deadlines = deadlines

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url, target = request.url, request.extensions["target"]
        outgoing = httpcore.Request(
            request.method.encode(),
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=target),
            headers=request.headers.raw,
            content=request.content,
            extensions={"timeout": {"pool": max(_LEAST_S, self._deadlines.left())}},
        )
        answer = self._pool.handle_request(outgoing)
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer))

    def close(self) -> None:
        self._pool.close()


class _Body(httpx.SyncByteStream):
    """A body as it arrives."""

    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        return self._answer.iter_stream()

    def close(self) -> None:
        self._answer.close()


def _read(response: httpx.Response) -> bytes | None:
    """Return the whole body, decompressed; None if it is too large.

    Half a megabyte of gzip may be half a gigabyte. A truncated or undecodable body counts as empty,
    since the status says enough, but not in a truncated 2xx response: its body is the result.
    """
    chunks, size = [], 0
    try:
        for chunk in response.iter_bytes():
            size += len(chunk)
            if size > MAX_ANSWER_BYTES:
                return None
            chunks.append(chunk)
    except httpx.DecodingError:
        return b""
    except FAILURES:
        if response.is_success:
            raise
        return b""
    return b"".join(chunks)
