"""The vendor of the benchmarks, in its own process: it counts records and parses none.

    python -m benchmarks.sink PORT

It answers any number of concurrent uploads, each after the configured latency.
`/set?latency_ms=250&sample=1` resets the counts; `/seen` returns them as JSON.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from typing import Any, cast
from urllib.parse import parse_qs

# Searching for them in a thousand records costs 0.2 ms, a quarter of the floor's total; all events
# have the same size, so the length alone gives their number.
_RECORD = b'"type":"'
_ENVELOPE, _EVENT = len(b'{"d":[]}') - 1, 191
_SENT = re.compile(rb'"Sent":(\d+)')
_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_SAMPLE_EVERY = 10


class Ledger:
    """What was received: the time and records of each request, and the requested ages."""

    def __init__(self, latency_s: float = 0.0, *, sample: bool = False) -> None:
        self.latency_s = latency_s
        self.sample = sample
        self.records = 0
        self.times: list[float] = []
        self.sizes: list[int] = []
        self.ages_ms: list[float] = []

    def take(self, body: bytes) -> int:
        """Count a request's records."""
        size, odd = divmod(len(body) - _ENVELOPE, _EVENT)
        if odd or not size:
            size = body.count(_RECORD)
        self.records += size
        self.times.append(time.monotonic())
        self.sizes.append(size)
        if self.sample:
            now_ms = time.time() * 1000
            found = _SENT.findall(body)[::_SAMPLE_EVERY]
            self.ages_ms += [now_ms - int(sent) for sent in found]
        return size

    def reported(self, *, whole: bool) -> dict[str, Any]:
        """Return the count, and with ``whole`` everything."""
        if not whole:
            return {"records": self.records, "requests": len(self.times)}
        return {"records": self.records, "times": self.times, "sizes": self.sizes,
                "ages_ms": self.ages_ms}  # fmt: skip


class Sink(asyncio.Protocol):
    """One connection: one request after another, HTTP/1.1 without pipelining."""

    ledger = Ledger()

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0
        self.needed = 0
        self.head_size = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.parts.append(data)
        self.size += len(data)
        if not self.needed and not self._read_head():
            return
        if self.size >= self.needed:
            whole = b"".join(self.parts)
            self.parts, self.size, self.needed = [], 0, 0
            self._answer(whole[: self.head_size], whole[self.head_size :])

    def _read_head(self) -> bool:
        head = b"".join(self.parts)
        end = head.find(b"\r\n\r\n")
        if end < 0:
            return False
        length = _LENGTH.search(head, 0, end)
        self.head_size = end + 4
        self.needed = self.head_size + (int(length[1]) if length else 0)
        return True

    def _answer(self, head: bytes, body: bytes) -> None:
        path = head.split(b" ", 2)[1].decode()
        if path.startswith("/1/upload"):
            taken = Sink.ledger.take(body)
            answer = b'{"status":"success","processed":%d,"unprocessed":[]}' % taken
            if latency_s := Sink.ledger.latency_s:
                asyncio.get_running_loop().call_later(latency_s, self._send, answer)
                return
        elif path.startswith("/seen"):
            answer = json.dumps(Sink.ledger.reported(whole="whole" in path)).encode()
        else:
            asked = parse_qs(path.partition("?")[2])
            latency_s = float(asked["latency_ms"][0]) / 1000
            Sink.ledger = Ledger(latency_s, sample=asked["sample"][0] == "1")
            answer = b"{}"
        self._send(answer)

    def _send(self, answer: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "
                b"%d\r\n\r\n%b" % (len(answer), answer)
            )


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", port, backlog=512)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
