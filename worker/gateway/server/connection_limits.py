"""Bound the head of a request (request line and headers) in size and time, and the connections.

uvicorn bounds none of them, so a client without a key could fill its memory with one header, or
its connections with heads that never end. It also takes trailers for headers, and loses the body of
a request that offers another protocol (`Upgrade: h2c`), as some clients do by default, such as
Java's: a server may ignore the offer and continue with HTTP/1.1 (RFC 9110, 7.8).
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from ..settings import GatewaySettings

Received = bytes | memoryview
MAX_HEAD_BYTES = 64 * 1024
_TOO_LARGE = b'{"status":"fail","error":"The headers are larger than 64 KiB","code":431}'
_HEAD = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\n"
    b"content-length: %d\r\nconnection: close\r\n\r\n"
)


class LimitedHttpProtocol(HttpToolsProtocol):
    """One connection of at most ``max_connections`` in the process.

    ``body_timeout_s`` also bounds the time of a head, from its first byte or the connection's.
    """

    def __init__(self, *args: Any, settings: GatewaySettings, **options: Any) -> None:
        super().__init__(*args, **options)
        self._head_timeout_s = settings.body_timeout_s
        self._max_connections = settings.max_connections
        self._head_timer: asyncio.TimerHandle | None = None
        self._read_timer: asyncio.TimerHandle | None = None
        self._running: RequestResponseCycle | None = None  # the current one, or the last
        self._is_open = False  # a head has begun and not ended
        self._later_bytes = 0  # of the head, after the piece in which it began
        self._pieces: deque[Received] = deque()  # received and not parsed yet
        self._piece: Received = b""
        self._is_too_large = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as its own
        super().connection_made(transport)
        if len(self.connections) > self._max_connections:
            self.logger.warning("A connection was refused: there are too many.")
            transport.abort()
        else:
            self._wait_for_head()
            self._check_progress(None, 0)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        if self._read_timer is not None:
            self._read_timer.cancel()
        self._disconnect_all()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._pieces.append(data)
        while self._pieces:
            self._parse(self._pieces.popleft())

    def _parse(self, piece: Received) -> None:
        if self._is_open:
            self._later_bytes += len(piece)
        self._piece = piece
        super().data_received(piece)  # type: ignore[arg-type] # its parser takes both
        self._piece = b""
        if self._is_open and self._later_bytes > MAX_HEAD_BYTES:
            self._is_too_large = True
            self.send_400_response("")
        else:
            latest: RequestResponseCycle | None = self.cycle  # None before the first head has ended
            if latest is None or latest.response_complete:
                self._wait_for_head()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_open, self._later_bytes = True, 0

    def on_headers_complete(self) -> None:
        """Note that a head has ended; ValueError if it was too large, answered with 431."""
        self._is_open = False
        self._stop_waiting()
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > MAX_HEAD_BYTES:
            self._is_too_large = True
            raise ValueError("the head is too large")
        super().on_headers_complete()
        if not self.parser.should_upgrade():
            self.headers = []  # trailers are not headers

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, or has too large a head, with an error, and close.

        If an earlier request is not answered yet, only close: it must not get another's error.
        """
        if any(not each.more_body for each in self._unanswered()):
            self.transport.close()
        elif self._is_too_large:
            self.transport.write(_HEAD % len(_TOO_LARGE) + _TOO_LARGE)
            self.transport.close()
        else:
            super().send_400_response(msg)
        self._disconnect_all()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _unanswered(self) -> list[RequestResponseCycle]:
        waiting = [cycle for cycle, _ in self.pipeline]
        if self._running is None or self._running.response_complete:
            return waiting
        return [self._running, *waiting]

    def _disconnect_all(self) -> None:
        """Mark the unanswered requests as disconnected, for writing to them would fail.

        uvicorn itself knows only of the latest of them.
        """
        for each in self._unanswered():
            each.disconnected = True
            each.message_event.set()

    def _should_upgrade(self) -> bool:
        return self._get_upgrade() is not None

    def handle_websocket_upgrade(self) -> None:
        """Ignore the offer of another protocol: parse the request again without it.

        A piece may hold thousands of such requests, so the rest is neither copied nor parsed
        recursively.
        """
        upgrade = cast("httptools.HttpParserUpgrade", sys.exception())
        rest = memoryview(self._piece)[upgrade.args[0] :]
        version = self.parser.get_http_version().encode()
        head = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, version)]
        head += [b"%s: %s" % each for each in self.headers if each[0] != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        if rest:
            self._pieces.appendleft(rest)
        self._pieces.appendleft(b"\r\n".join((*head, b"", b"")))

    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing: only CONNECT gets here, and is answered like any unknown method."""

    def _check_progress(self, request: RequestResponseCycle | None, unread: int) -> None:
        """Abort the connection if its client has read nothing since the last check; repeat.

        Closing it would wait until all is read.
        """
        left = self.transport.get_write_buffer_size()
        if left and left == unread and self._running is request:
            self.transport.abort()
            return
        after_s, running = self._head_timeout_s, self._running
        self._read_timer = self.loop.call_later(after_s, self._check_progress, running, left)

    def _wait_for_head(self) -> None:
        if self._head_timer is None and not self.transport.is_closing():
            self._head_timer = self.loop.call_later(self._head_timeout_s, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
