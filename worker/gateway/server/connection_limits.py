"""What comes before a body: how large it may be, how long it may take, and what is taken from it.

The server under us bounds neither, nor the number of connections, so a stranger without a key could
fill its memory with one header, or its connections with heads that never end. It also takes
trailers for headers, and loses the body of a request that offers another protocol (`Upgrade: h2c`),
which some clients do by default, such as Java's: whoever is offered one may go on with HTTP/1.1
(RFC 9110, 7.8).
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

Buffer = bytes | memoryview
MOST_BYTES = 64 * 1024  # of the request line and the headers
_TOO_LARGE = b'{"status":"fail","error":"The headers are larger than 64 KiB","code":431}'


class HeadersTooLarge(Exception):
    """The request line and the headers are larger than MOST_BYTES."""


class LimitedHttpProtocol(HttpToolsProtocol):
    """One connection; ``head_within_s`` is how long a head may take, from its connection's begin or
    from its first byte, and ``max_connections`` how many of them a process has."""

    def __init__(
        self, *args: Any, head_within_s: float, max_connections: int, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self._head_within_s = head_within_s
        self._max_connections = max_connections
        self._hurry: asyncio.TimerHandle | None = None
        self._next_look: asyncio.TimerHandle | None = None
        self._running: RequestResponseCycle | None = None  # what is answered now, or was the last
        self._is_open = False  # a head has begun and has not ended
        self._came_later = 0  # bytes of it that came after the piece which it began in
        self._pieces: deque[Buffer] = deque()  # what came and is not read yet
        self._piece: Buffer = b""
        self._is_too_large = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as its own
        """Begin to wait for a head, or hang up: a connection too many would cost all others."""
        super().connection_made(transport)
        if len(self.connections) > self._max_connections:
            self.logger.warning("A connection was refused: there are too many.")
            transport.abort()
        else:
            self._wait()
            self._look(None, 0)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._wait_no_more()
        if self._next_look is not None:
            self._next_look.cancel()
        self._answer_nobody()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take the next piece of what comes."""
        self._pieces.append(data)
        while self._pieces:
            self._take(self._pieces.popleft())

    def _take(self, piece: Buffer) -> None:
        if self._is_open:
            self._came_later += len(piece)
        self._piece = piece
        super().data_received(piece)  # type: ignore[arg-type] # the parser under it takes both
        self._piece = b""
        if self._is_open and self._came_later > MOST_BYTES:
            self._is_too_large = True
            self.send_400_response("")
        elif (request := self._latest()) is None or request.response_complete:
            self._wait()

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._is_open, self._came_later = True, 0

    def on_headers_complete(self) -> None:
        """A head has ended; HeadTooLarge when it was."""
        self._is_open = False
        self._wait_no_more()
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > MOST_BYTES:
            self._is_too_large = True
            raise HeadersTooLarge
        super().on_headers_complete()
        if not self.parser.should_upgrade():
            self.headers = []  # trailers are none of the request's

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, or has too large a head, and hang up.

        A request before it that is not answered yet is not told a refusal that is not its own.
        """
        if any(not each.more_body for each in self._unanswered()):
            self.transport.close()
        elif self._is_too_large:
            self._refuse()
        else:
            super().send_400_response(msg)
        self._answer_nobody()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _unanswered(self) -> list[RequestResponseCycle]:
        waiting = [cycle for cycle, _ in self.pipeline]
        if self._running is None or self._running.response_complete:
            return waiting
        return [self._running, *waiting]

    def _answer_nobody(self) -> None:
        """Let requests under way end without a word: the connection is gone, or is closed, and
        whatever wrote to it would fail. The server under us knows of the latest of them alone."""
        for each in self._unanswered():
            each.disconnected = True
            each.message_event.set()

    def _latest(self) -> RequestResponseCycle | None:
        return self.cycle  # which is None before the first head has ended, whatever its type says

    def _should_upgrade(self) -> bool:
        return self._get_upgrade() is not None

    def handle_websocket_upgrade(self) -> None:
        """Go on as if nothing but HTTP/1.1 had been offered: read the request again, without.

        A piece may hold thousands of such requests: what follows is neither copied nor read from
        here, each a level deeper.
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
        """Say nothing: only CONNECT comes here, and is answered as any method we lack."""

    def _refuse(self) -> None:
        head = (
            b"HTTP/1.1 431 Request Header Fields Too Large",
            b"content-type: application/json",
            b"content-length: %d" % len(_TOO_LARGE),
            b"connection: close",
        )
        self.transport.write(b"\r\n".join((*head, b"", _TOO_LARGE)))
        self.transport.close()

    def _look(self, request: RequestResponseCycle | None, unread: int) -> None:
        """Every so often: end a connection whose client has read nothing since the last look.

        Closing it would wait until all is read.
        """
        left = self.transport.get_write_buffer_size()
        if left and left == unread and self._running is request:
            self.transport.abort()
            return
        after_s, running = self._head_within_s, self._running
        self._next_look = self.loop.call_later(after_s, self._look, running, left)

    def _wait(self) -> None:
        if self._hurry is None and not self.transport.is_closing():
            self._hurry = self.loop.call_later(self._head_within_s, self.transport.close)

    def _wait_no_more(self) -> None:
        if self._hurry is not None:
            self._hurry.cancel()
            self._hurry = None
