"""A vendor on loopback, on raw sockets: it responds as CleverTap's upload API, or by a script.

When a request's first byte arrives, the next of the `script`ed plays is chosen for it, or the
`usual` one. `support.fault_scripts` has a play for each way a response can fail. The vendor counts
accepted records by identity. The sandbox's conformance suite holds it to the real behaviour.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import pytest

from support.ports import find_free_port
from worker.sandbox.clevertap_rules import credentials_error
from worker.sandbox.clevertap_upload import (
    Malformed,
    records_of,
    response_body,
    spaced,
    validate_records,
)
from worker.sandbox.clevertap_upload import failure as failure_body
from worker.sandbox.error_codes import of

MISCELLANEOUS, RESTRICTED_EVENT = 555, 513
MAX_RECORDS = 1000
Record = Mapping[str, Any]
Play = Callable[["Exchange"], None]
Whole = Callable[[Sequence[Record]], tuple[int, str] | None]
PASSCODE = "PASS-PASS-PASS"


@dataclass(slots=True)
class Received:
    """A request: its start and end (monotonic seconds), its size and its status.

    ``under_way`` counts the requests the vendor had before it just then, this one included;
    ``status`` is 0 as long as it was not answered.
    """

    began_s: float
    under_way: int
    path: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    bytes: int = 0
    identities: Sequence[str] = ()
    status: int = 0
    ended_s: float = 0.0

    @property
    def records(self) -> int:
        """Return the number of records in it."""
        return len(self.identities)

    @property
    def dry_run(self) -> bool:
        """Return whether it is a dry run."""
        return "dryRun=1" in self.path


class Exchange:
    """One request on one connection: a play reads as much of it as it likes, and responds."""

    def __init__(self, vendor: LoopbackVendor, connection: socket.socket, noted: Received) -> None:
        self.vendor = vendor
        self.noted = noted
        self.open = True
        self._connection = connection
        self._rest = b""

    def head(self) -> int:
        """Read to the end of the headers; return the length of the body."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._receive()
        head, _, self._rest = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        named = (line.split(":", 1) for line in lines)
        self.noted.headers = {name.lower(): value.strip() for name, value in named}
        self.noted.path = first.split(" ")[1]
        self.noted.bytes = int(self.noted.headers.get("content-length", 0))
        return self.noted.bytes

    def body(self, size: int) -> bytes:
        """Read ``size`` bytes of the body."""
        parts = [self._rest]
        missing = size - len(self._rest)
        while missing > 0:
            parts.append(self._receive())
            missing -= len(parts[-1])
        data = b"".join(parts)
        self._rest = data[size:]
        return data[:size]

    def records(self) -> list[Record]:
        """Read the whole request and note the identities in it; raise `Malformed`."""
        records: list[Record] = records_of(self.body(self.head()), MAX_RECORDS)
        self.noted.identities = [_identity_of(record) for record in records]
        return records

    def answer(
        self, status: int, body: bytes | Record, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send a whole response; its place under the limit is free before a client reads it."""
        self.noted.status = status
        self.leave()
        self.send(rendered(status, body, headers))

    def send(self, data: bytes) -> None:
        """Send these bytes, and nothing else."""
        self._connection.sendall(data)

    def wait(self, seconds: float) -> None:
        """Wait, but no longer than the vendor runs."""
        self.vendor.closing.wait(seconds)

    def reset(self) -> None:
        """End the connection with a RST, so that the client gets an error."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.hang_up()

    def hang_up(self) -> None:
        """End the connection."""
        self.open = False
        self.leave()
        self._connection.close()

    def silence(self) -> None:
        """Send nothing until the client gives up or the vendor closes."""
        while not self.vendor.closing.is_set():
            if readable(self._connection, 0.05) and not self._connection.recv(65536):
                return

    def leave(self) -> None:
        """Stop counting as in flight; may be repeated."""
        if not self.noted.ended_s:
            self.noted.ended_s = time.monotonic()
            self.vendor.ended()

    def _receive(self) -> bytes:
        data = self._connection.recv(262_144)
        if not data:
            raise ConnectionError("the other side hung up")
        return data


def rendered(status: int, body: bytes | Record, headers: Mapping[str, str] | None = None) -> bytes:
    """Return a response as it stands on the wire."""
    content = body if isinstance(body, bytes) else spaced(body).encode()
    named = {"Content-Type": "application/json;charset=utf-8", **(headers or {})}
    lines = [f"HTTP/1.1 {status} {'OK' if status == 200 else 'No'}"]
    lines += [f"{name}: {value}" for name, value in named.items()]
    return "\r\n".join([*lines, f"Content-Length: {len(content)}", "", ""]).encode() + content


def readable(connection: socket.socket, seconds: float) -> bool:
    """Return whether data or the end of the connection arrives within ``seconds``."""
    if isinstance(connection, ssl.SSLSocket) and connection.pending():
        return True
    return bool(select.select([connection], [], [], seconds)[0])


def usual(exchange: Exchange) -> None:
    """Respond as CleverTap does, with the vendor's present limit, whole-request rule and codes."""
    vendor = exchange.vendor
    try:
        records = exchange.records()
    except Malformed as error:
        exchange.answer(400, failure(400, str(error)))
        return
    if vendor.credentials and (
        refusal := credentials_error(exchange.noted.headers, *vendor.credentials)
    ):
        exchange.answer(401, failure(401, refusal))
        return
    if vendor.limit is not None and exchange.noted.under_way > vendor.limit:
        exchange.answer(429, failure(429, "Too many concurrent requests"), vendor.throttle_headers)
        return
    exchange.wait(vendor.latency_s)
    if vendor.whole and (refused := vendor.whole(records)):
        exchange.answer(refused[0], failure(*refused))
        return
    exchange.answer(200, vendor.take(records, dry_run=exchange.noted.dry_run))


def failure(code: int, error: str) -> bytes:
    """Return the body that refuses a whole request."""
    return failure_body(error, code)


def upload_response(records: Sequence[Record], codes: Sequence[int | None]) -> bytes:
    """Return the body for records with these codes; None is an accepted record."""
    left = iter(codes)

    def error_of(_: Any) -> Any:
        code = next(left)
        return None if code is None else of(code, "No.")

    return response_body(validate_records(records, error_of))


def _identity_of(record: Any) -> str:
    found = record.get("identity", record.get("objectId")) if isinstance(record, dict) else None
    return str(found)


class LoopbackVendor:
    """A vendor on a port of loopback, from construction to `close`.

    ``limit`` is how many requests it allows at once (429 above), ``latency_s`` how long each takes,
    ``whole`` a rule that refuses whole requests, ``credentials`` the account id and passcode it
    demands (None: any). All may be changed while it runs.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.usual: Play = usual
        self.limit: int | None = None
        self.latency_s = 0.0
        self.whole: Whole | None = None
        self.credentials: tuple[str, str] | None = None
        self.throttle_headers: Mapping[str, str] = {}
        self.closing = threading.Event()
        self.requests: list[Received] = []
        self.taken: Counter[str] = Counter()
        self._tls = tls
        self._script: deque[Play] = deque()
        self._codes: dict[str, deque[int]] = {}
        self._always: dict[str, int] = {}
        self._under_way = 0
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.port = find_free_port()  # stays reserved while this vendor is down
        self.open()

    @property
    def base_url(self) -> str:
        """Return the address to send to."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of a process that delivers to this vendor."""
        return {
            "CLEVERTAP_ACCOUNT_ID": "ACCOUNT-1",
            "CLEVERTAP_PASSCODE": PASSCODE,
            "CLEVERTAP_BASE_URL": self.base_url,
        }

    def open(self) -> None:
        """Accept connections, after `refuse` on the same port as before."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Small, so that a large request cannot wait, unread, in this side's memory.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(128)
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def refuse(self) -> None:
        """Refuse connections, and cut the open ones."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop for good."""
        self.closing.set()
        self.refuse()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def script(self, *plays: Play) -> None:
        """Answer the next requests with these plays, one each."""
        with self._lock:
            self._script.extend(plays)

    def prescribe(self, identity: str, *codes: int, always: int | None = None) -> None:
        """Refuse this record's next attempts with these codes, and later ones with ``always``."""
        self._codes[identity] = deque(codes)
        if always is not None:
            self._always[identity] = always

    def take(self, records: Sequence[Record], *, dry_run: bool = False) -> bytes:
        """Accept the records without a prescribed code; return the response's body."""
        with self._lock:
            identities = [_identity_of(record) for record in records]
            codes = [self._next_code(identity) for identity in identities]
            if not dry_run:
                self.taken.update(
                    identity
                    for identity, code in zip(identities, codes, strict=True)
                    if code is None
                )
        return upload_response(records, codes)

    def _next_code(self, identity: str) -> int | None:
        codes = self._codes.get(identity)
        return codes.popleft() if codes else self._always.get(identity)

    @property
    def uploads(self) -> list[Received]:
        """Return the requests other than dry runs."""
        return [each for each in list(self.requests) if not each.dry_run]

    @property
    def most_under_way(self) -> int:
        """Return the highest number of requests in flight."""
        return max((each.under_way for each in list(self.requests)), default=0)

    def answers(self) -> Counter[int]:
        """Count responses by status; 0 is a request without a whole response."""
        return Counter(each.status for each in list(self.requests))

    def ended(self) -> None:
        """Count one request less in flight."""
        with self._lock:
            self._under_way -= 1

    def _accept(self, listener: socket.socket) -> None:
        while not self.closing.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with contextlib.suppress(OSError):
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = self._tls.wrap_socket(plain, server_side=True) if self._tls else plain
            with self._lock:
                self._connections.add(connection)
            try:
                while not self.closing.is_set() and readable(connection, 60.0):
                    if not self._exchange(connection):
                        break
            finally:
                with self._lock:
                    self._connections.discard(connection)
                connection.close()

    def _exchange(self, connection: socket.socket) -> bool:
        """Play one request; return whether the connection may bring another."""
        if not _has_data(connection):
            return False
        with self._lock:
            self._under_way += 1
            noted = Received(time.monotonic(), self._under_way)
            self.requests.append(noted)
            play = self._script.popleft() if self._script else self.usual
        exchange = Exchange(self, connection, noted)
        try:
            play(exchange)
        finally:
            exchange.leave()
        return exchange.open


def _has_data(connection: socket.socket) -> bool:
    """Return whether the readable data is a request, not the end of the connection."""
    if isinstance(connection, ssl.SSLSocket):
        return True
    return bool(connection.recv(1, socket.MSG_PEEK))


@pytest.fixture
def vendor() -> Iterator[LoopbackVendor]:
    """A vendor that accepts everything unless a test says otherwise."""
    with LoopbackVendor() as running:
        yield running
