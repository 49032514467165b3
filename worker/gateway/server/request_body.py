"""A request's body: read within its limits, unfolded, and parsed; or a refusal that says why."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Mapping
from typing import Any

import orjson
from starlette.types import Receive

from worker.vendors.serialization import exact

from ..settings import GatewaySettings
from .errors import HttpError

_GZIP = 16 + zlib.MAX_WBITS
# Unfolding a megabyte takes some milliseconds: more than that is not done in the event loop.
_SMALL_BYTES = 128 * 1024
STOPPING_RETRY_S = 1.0
# Sixteen megabytes of nothing but brackets, 160 KB as gzip, would hold the event loop for six
# seconds and take a gigabyte. So many are parsed in a tenth of a second; a thousand events of 50
# items each have a quarter of them.
MOST_CONTAINERS = 200_000
# Twice as many as a thousand events of 256 properties have. Eight million, 16 KB as gzip, would be
# parsed in half a second, and checked in nine when they stand in records.
MOST_VALUES = 500_000


class ClientDisconnected(Exception):
    """The client went away before its request was whole; nobody is there to be answered."""


def written(told: Any) -> bytes:
    """The JSON of an answer that echoes what a client sent."""
    try:
        return orjson.dumps(told)
    except TypeError:  # an integer beyond 64 bits
        return json.dumps(told, separators=(",", ":")).encode()


class BodyReader:
    """Reads bodies within the limits; raises HungUp, or Refused (400, 408, 413, 415, 503)."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._max_body_bytes = settings.max_body_bytes
        self._max_unfolded_bytes = settings.max_unfolded_bytes
        self._max_depth = settings.max_depth
        self._timeout_s = settings.body_timeout_s

    async def read(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
        """The body's bytes, unfolded."""
        encoding = headers.get(b"content-encoding", b"identity").strip().lower()
        if encoding not in {b"gzip", b"x-gzip", b"identity", b""}:
            raise HttpError(415, "Content-Encoding: gzip or none")
        self._check_announced(headers)
        body = await self._arrived(receive)
        if encoding in {b"identity", b""}:
            return body
        if len(body) <= _SMALL_BYTES // 8:
            return self._unfold(body)
        return await asyncio.to_thread(self._unfold, body)

    def parse(self, body: bytes) -> Any:
        """The JSON value in a body; ValueError when it is none, or is nested too deeply, and
        Refused when it has more than MOST_CONTAINERS arrays and objects, or MOST_VALUES in them.

        Its integers may be beyond 64 bits: the schemas refuse those, and `written` echoes them.
        """
        # Brackets and commas in texts are counted too: few texts have many.
        if body.count(b"[") + body.count(b"{") > MOST_CONTAINERS:
            raise HttpError(413, f"The body holds more than {MOST_CONTAINERS} arrays and objects")
        if body.count(b",") > MOST_VALUES:
            raise HttpError(413, f"The body holds more than {MOST_VALUES} values, by its commas")
        value = exact(body)
        if _is_deeper(value, self._max_depth):
            raise ValueError(f"nested deeper than {self._max_depth} levels")
        return value

    def _check_announced(self, headers: Mapping[bytes, bytes]) -> None:
        """A body that says itself that it is too large is not waited for."""
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length[:20]) > self._max_body_bytes:
            raise self._too_large()

    async def _arrived(self, receive: Receive) -> bytes:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._whole(receive)
        except TimeoutError:
            raise HttpError(408, "The body did not come in time", hang_up=True) from None
        except asyncio.CancelledError:  # the server's, which stops and has waited long enough
            text = "The gateway stops: nothing was accepted"
            raise HttpError(503, text, retry_after_s=STOPPING_RETRY_S, hang_up=True) from None

    async def _whole(self, receive: Receive) -> bytes:
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            message = await receive()
            part = _part(message)
            parts.append(part)
            size += len(part)
            if size > self._max_body_bytes:
                raise self._too_large()
            more = message.get("more_body", False)
        return b"".join(parts)

    def _too_large(self) -> HttpError:
        """The rest of the body is passed over as it comes, in the time that a head has: many
        clients send all before they read, and would be told of a broken connection, no more."""
        return HttpError(413, f"The body is larger than {self._max_body_bytes} bytes")

    def _unfold(self, body: bytes) -> bytes:
        unfolder = zlib.decompressobj(_GZIP)
        try:
            unfolded = unfolder.decompress(body, self._max_unfolded_bytes + 1)
        except zlib.error:
            raise HttpError(400, "The body is not gzip, as its Content-Encoding says") from None
        if len(unfolded) > self._max_unfolded_bytes:
            text = f"The body unfolds to more than {self._max_unfolded_bytes} bytes"
            raise HttpError(413, text)
        if not unfolder.eof or unfolder.unused_data:
            raise HttpError(400, "The body is not one whole gzip stream")
        return unfolded


def _part(message: Any) -> bytes:
    if message["type"] == "http.disconnect":
        raise ClientDisconnected
    part: bytes = message.get("body", b"")
    return part


def _is_deeper(value: Any, levels: int) -> bool:
    """Whether there are containers in containers beyond so many levels: level by level, in C."""
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
