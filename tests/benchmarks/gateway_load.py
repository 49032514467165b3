"""Single-record requests per second of one gateway process, compared with a plain handler.

    python tests/benchmarks/gateway_load.py [--seconds 5] [--connections 64]

Both handlers, Redis and the load share this machine, in a process each; the handlers are measured
in turns. CPU is the handler's own for each request: it shifts less than the rate when others are
busy here too.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import psutil
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from support.polling import poll_until  # noqa: E402 - the path is set above
from support.ports import find_free_port, listens  # noqa: E402
from worker import AsyncProducer  # noqa: E402
from worker.connections.clients import operator_client  # noqa: E402
from worker.connections.embedded.server import EmbeddedRedis  # noqa: E402
from worker.gateway.auth.api_keys import KeyTable  # noqa: E402

RECORD = (
    b'{"d":[{"identity":"61026032","type":"event","evtName":"Product viewed","ts":1700000000,'
    b'"evtData":{"Product name":"Casio Chronograph Watch","Category":"Mens Accessories",'
    b'"Price":59.99,"Currency":"USD"}}]}'
)
ROUNDS = 3


def plain() -> Starlette:
    """The comparison: a straightforward handler that enqueues each record separately."""
    producer = AsyncProducer.from_env()

    async def upload(request: Request) -> JSONResponse:
        records = (await request.json())["d"]
        for record in records:
            await producer.send(record)
        return JSONResponse({"status": "success", "processed": len(records), "unprocessed": []})

    return Starlette(routes=[Route("/1/upload", upload, methods=["POST"])])


@dataclass
class Handler:
    """The process of a handler."""

    name: str
    port: int
    process: psutil.Process

    def cpu_s(self) -> float:
        """Return the CPU seconds used so far."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


class Client(asyncio.Protocol):
    """One connection: a request, its response, the next request."""

    def __init__(self, request: bytes, statuses: Counter[bytes]) -> None:
        self._request = request
        self._statuses = statuses
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Count a complete response, and send the next request."""
        self._got += data
        if self._got.endswith(b"}"):
            self._statuses[self._got[9:12]] += 1
            self._got = b""
            self._transport.write(self._request)


async def load(port: int, key: str, connections: int, seconds: float) -> Counter[bytes]:
    """Send for this many seconds; return the responses by status."""
    request = (
        f"POST /1/upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"X-CleverTap-Account-Id: TEST\r\nX-CleverTap-Passcode: {key}\r\n"
        f"Content-Length: {len(RECORD)}\r\n\r\n"
    ).encode() + RECORD
    statuses: Counter[bytes] = Counter()
    loop = asyncio.get_running_loop()
    made = [
        await loop.create_connection(lambda: Client(request, statuses), "127.0.0.1", port)
        for _ in range(connections)
    ]
    await asyncio.sleep(seconds)
    for transport, _ in made:
        transport.abort()
    return statuses


@contextmanager
def started(name: str, command: list[str], env: dict[str, str], port: int) -> Iterator[Handler]:
    """Run a handler, which listens until the end of the block."""
    process = subprocess.Popen(command, env=env, cwd=TESTS.parent, stderr=subprocess.DEVNULL)
    try:
        poll_until(lambda: listens(port), 30, f"{name} listens")
        yield Handler(name, port, psutil.Process(process.pid))
    finally:
        process.terminate()
        process.wait(30)


def measure(handler: Handler, key: str, connections: int, seconds: float) -> None:
    """Print one line of the table."""
    before, began = handler.cpu_s(), time.monotonic()
    statuses = uvloop.run(load(handler.port, key, connections, seconds))
    took_s, cpu_s = time.monotonic() - began, handler.cpu_s() - before
    total = sum(statuses.values())
    reported = ", ".join(f"{status.decode()}: {number}" for status, number in statuses.items())
    print(
        f"{handler.name:8} {total / took_s:8.0f} requests/s {cpu_s / total * 1e6:6.0f} us  "
        f"{reported}"
    )


def main() -> None:
    """Measure both in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--connections", type=int, default=64)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis(Path(folder)) as server:
        with operator_client(server.url) as client:
            key = KeyTable(client).create("bench")
        env = {**os.environ, "REDIS_URL": server.url, "PYTHONPATH": str(TESTS / "benchmarks")}
        one, two = find_free_port(), find_free_port()
        bare = [sys.executable, "-m", "uvicorn", "--factory", "gateway_load:plain"]
        bare += ["--no-access-log", "--port", str(one)]
        ours = [sys.executable, "-m", "worker.gateway", "--port", str(two)]
        with (
            started("plain", bare, env, one) as first,
            started("gateway", ours, env, two) as second,
        ):
            for _ in range(ROUNDS):
                for handler in (first, second):
                    measure(handler, key, options.connections, options.seconds)


if __name__ == "__main__":
    main()
