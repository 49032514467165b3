"""Read a request's body within its limits, decompress it, and parse it."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.types import Receive

from worker.vendors.json_values import exact

from ..settings import GatewaySettings
from .endpoint import ClientDisconnected, HttpError

_GZIP = 16 + zlib.MAX_WBITS
# Decompressing a megabyte takes some milliseconds: larger bodies leave the event loop.
_SMALL_BYTES = 128 * 1024
STOPPING_RETRY_S = 1.0
# Sixteen megabytes of nothing but brackets, 160 KB as gzip, would hold the event loop for six
# seconds and use a gigabyte. This many are parsed in a tenth of a second; a thousand events of 50
# items each have a quarter of them.
MAX_CONTAINERS = 200_000
# Twice as many as a thousand events of 256 properties have. Eight million, 16 KB as gzip, would be
# parsed in half a second, and checked in nine when they stand in records.
MAX_VALUES = 500_000


def dump_json(value: Any) -> bytes:
    """Serialize a response that echoes what a client sent."""
    try:
        return orjson.dumps(value)
    except TypeError:  # an integer beyond 64 bits
        return json.dumps(value, separators=(",", ":")).encode()


class BodyReader:
    """Reads bodies; raises ClientDisconnected, or HttpError (400, 408, 413, 415, 503)."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._limits = settings

    async def read(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
        """Return the body's bytes, decompressed."""
        encoding = headers.get(b"content-encoding", b"identity").strip().lower()
        if encoding not in {b"gzip", b"x-gzip", b"identity", b""}:
            raise HttpError(415, "Content-Encoding: gzip or none")
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length[:20]) > self._limits.max_body_bytes:
            raise self._too_large()  # without waiting for it
        try:
            async with asyncio.timeout(self._limits.body_timeout_s):
                body = await self._receive(receive)
        except TimeoutError:
            raise HttpError(408, "The body did not arrive in time", connection="close") from None
        except asyncio.CancelledError:  # by the server, which stops and has waited long enough
            text = "The gateway is stopping: nothing was accepted"
            raise HttpError(503, text, retry_after_s=STOPPING_RETRY_S, connection="close") from None
        if encoding in {b"identity", b""}:
            return body
        if len(body) <= _SMALL_BYTES // 8:
            return self._decompress(body)
        return await asyncio.to_thread(self._decompress, body)

    def parse(self, body: bytes) -> Any:
        """Parse the JSON in a body.

        Raises ValueError when it is not valid or is nested too deeply, and HttpError when it has
        more than MAX_CONTAINERS arrays and objects, or MAX_VALUES in them. Integers may be beyond
        64 bits: the schemas reject those, and `dump_json` echoes them.
        """
        # This also counts brackets and commas in strings, which have few of them.
        if body.count(b"[") + body.count(b"{") > MAX_CONTAINERS:
            raise HttpError(413, f"The body holds more than {MAX_CONTAINERS} arrays and objects")
        if body.count(b",") > MAX_VALUES:
            raise HttpError(413, f"The body holds more than {MAX_VALUES} values, by its commas")
        value = exact(body)
        if _is_deeper(value, self._limits.max_depth):
            raise ValueError(f"nested deeper than {self._limits.max_depth} levels")
        return value

    async def _receive(self, receive: Receive) -> bytes:
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self._limits.max_body_bytes:
                raise self._too_large()
            more = message.get("more_body", False)
        return b"".join(parts)

    def _too_large(self) -> HttpError:
        """Make the error, without closing: the server then reads and discards the rest of the body,
        for as long as headers may take. Many clients send the whole body before they read, and
        would otherwise see a broken connection instead of the error."""
        return HttpError(413, f"The body is larger than {self._limits.max_body_bytes} bytes")

    def _decompress(self, body: bytes) -> bytes:
        gzip, most = zlib.decompressobj(_GZIP), self._limits.max_unfolded_bytes
        try:
            plain = gzip.decompress(body, most + 1)
        except zlib.error:
            raise HttpError(400, "The body is not gzip, but its Content-Encoding is") from None
        if len(plain) > most:
            raise HttpError(413, f"The body is larger than {most} bytes when decompressed")
        if not gzip.eof or gzip.unused_data:
            raise HttpError(400, "The body is not one complete gzip stream")
        return plain


def _is_deeper(value: Any, levels: int) -> bool:
    """Return whether containers are nested beyond a number of levels: level by level, in C."""
    level = [value]
    for _ in range(levels):
        level = [
            inner
            for outer in level
            if type(outer) is dict or type(outer) is list
            for inner in (outer.values() if type(outer) is dict else outer)
        ]
        if not level:
            return False
    return any(type(each) is dict or type(each) is list for each in level)
