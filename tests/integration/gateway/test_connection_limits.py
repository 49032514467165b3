"""Heads and connections of hostile clients: their size, their time, their tricks."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from contextlib import suppress
from itertools import chain, repeat

import orjson
import pytest
import redis

from support.gateway import GatewayProcess, GatewayProcessFactory, buffered, event
from support.polling import poll_until
from worker.gateway.auth.api_keys import KeyTable

BODY = orjson.dumps({"d": [event()]})
LENGTH = f"Content-Length: {len(BODY)}"
CHUNKED = b"%x\r\n%b\r\n0\r\n" % (len(BODY), BODY)
H2C = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")


@pytest.fixture
def key(redis_client: redis.Redis) -> str:
    """A producer's key."""
    return KeyTable(redis_client).create("shop")


def head(key: str, *lines: str, target: str = "/1/upload") -> bytes:
    """Return an upload's head, with further lines."""
    whole = (f"POST {target} HTTP/1.1", "Host: x", f"Authorization: Bearer {key}", *lines)
    return "".join(f"{line}\r\n" for line in whole).encode() + b"\r\n"


def connected(gateway: GatewayProcess) -> socket.socket:
    """Return a connection that sends each piece at once."""
    connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def payload(gateway: GatewayProcess, pieces: Iterable[bytes]) -> bytes:
    """Send these pieces and return what the gateway answers, until it closes the connection."""
    got = b""
    with connected(gateway) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
            while part := connection.recv(65536):
                got += part
        except ConnectionError:  # it closed it while we were still sending
            pass
    return got


LARGE = {
    "one header": ("", [f"X-A: {'a' * 70_000}"]),
    "many headers": ("", [f"X-{number}: a" for number in range(9_000)]),
    "the address": ("?" + "a" * 70_000, []),
}


@pytest.mark.parametrize("what", LARGE)
def test_head_beyond_64_kib_answers_431(
    start_gateway: GatewayProcessFactory,
    redis_client: redis.Redis,
    redis_url: str,
    key: str,
    what: str,
) -> None:
    """The connection ends, nothing is enqueued, and others are served."""
    gateway = start_gateway(redis_url)
    query, lines = LARGE[what]
    got = payload(gateway, [head(key, LENGTH, *lines, target=f"/1/upload{query}") + BODY])
    assert got == b"" or got.startswith(b"HTTP/1.1 431 ")
    assert buffered(redis_client) == []
    assert gateway.request("GET", "/healthz").status == 200


def test_endless_head_ends_the_connection(
    start_gateway: GatewayProcessFactory, redis_url: str
) -> None:
    """A client cannot fill the memory: the connection ends long before ten megabytes."""
    gateway = start_gateway(redis_url)
    sent = 0

    def endless() -> Iterable[bytes]:
        nonlocal sent
        yield b"POST /1/upload HTTP/1.1\r\nX-A: "
        while sent < 10_000_000:
            sent += 50_000
            yield b"a" * 50_000

    got = payload(gateway, endless())
    assert got == b"" or got.startswith(b"HTTP/1.1 431 ")
    assert gateway.request("GET", "/healthz").status == 200
    if sent == 10_000_000:  # the sockets' buffers took all: it must not have been read
        assert b"200 OK" not in got


def test_head_of_60_kib_is_accepted(
    start_gateway: GatewayProcessFactory, redis_url: str, key: str
) -> None:
    """The limit leaves room for what proxies and cookies add."""
    whole = head(key, LENGTH, "Connection: close", f"X-A: {'a' * 60_000}") + BODY
    got = payload(start_gateway(redis_url), [whole[:40_000], whole[40_000:]])
    assert got.startswith(b"HTTP/1.1 200 ")


TWICE = {
    "idempotency keys": (["Idempotency-Key: a", "Idempotency-Key: b"], False),
    "the same": (["Idempotency-Key: a", "idempotency-key: a"], True),
    "producers' keys": (["Authorization: Bearer other"], False),
    "accounts": (["X-CleverTap-Account-Id: main", "X-CleverTap-Account-Id: other"], False),
    "encodings": (["Content-Encoding: gzip", "Content-Encoding: identity"], False),
    "others": (["X-Forwarded-For: 10.0.0.1", "X-Forwarded-For: 10.0.0.2"], True),
}


@pytest.mark.parametrize("what", TWICE)
def test_deciding_header_with_two_values_answers_400(
    start_gateway: GatewayProcessFactory,
    redis_client: redis.Redis,
    redis_url: str,
    key: str,
    what: str,
) -> None:
    """A header that decides something must not have two values, for either could be meant."""
    lines, taken = TWICE[what]
    got = payload(start_gateway(redis_url), [head(key, *lines, LENGTH, "Connection: close") + BODY])
    assert got.startswith(b"HTTP/1.1 200 " if taken else b"HTTP/1.1 400 ")
    assert b"other" not in got
    assert len(buffered(redis_client)) == taken


@pytest.mark.parametrize("begun", [b"", b"POST /1/up", b"\r\n", b"POST / HTTP/1.1\r\nHost: x\r\n"])
def test_incomplete_head_ends_the_connection_at_the_timeout(
    start_gateway: GatewayProcessFactory, redis_url: str, begun: bytes
) -> None:
    """The connection ends, also when it was never used."""
    gateway = start_gateway(redis_url, INGEST_GATEWAY_BODY_TIMEOUT_S="0.2")
    assert payload(gateway, [begun] if begun else []) == b""


def test_incomplete_second_head_ends_the_connection_at_the_timeout(
    start_gateway: GatewayProcessFactory, redis_url: str, key: str
) -> None:
    """After a response, too, a head that has begun must end in time."""
    gateway = start_gateway(redis_url, INGEST_GATEWAY_BODY_TIMEOUT_S="1")
    with connected(gateway) as connection:
        connection.sendall(head(key, LENGTH) + BODY)
        got = b""
        while b'"processed":1' not in got:
            got += connection.recv(65536)
        connection.sendall(b"POST /1/up")
        while part := connection.recv(65536):
            got += part
    assert got.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("behind", [b"", b"nonsense\r\n\r\n"])
def test_client_disconnecting_from_pipelined_requests_logs_no_traceback(
    start_gateway: GatewayProcessFactory, redis_url: str, key: str, behind: bytes
) -> None:
    """Pipelined requests of a client that disconnects or sends garbage leave no traceback."""
    gateway = start_gateway(redis_url)
    for _ in range(20):
        with connected(gateway) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall((head(key, LENGTH) + BODY) * 3 + behind)
            if behind:
                with suppress(ConnectionError):
                    connection.recv(65536)  # until the gateway hangs up
    got = payload(gateway, [head(key, LENGTH, "Connection: close") + BODY])
    assert got.startswith(b"HTTP/1.1 200 ")
    assert "Traceback" not in gateway.process.output()


def test_connection_beyond_the_limit_is_closed(
    start_gateway: GatewayProcessFactory, redis_url: str, key: str
) -> None:
    """It ends at once, earlier ones are served, and a place is free again when one has ended."""
    gateway = start_gateway(redis_url, INGEST_GATEWAY_MAX_CONNECTIONS="3")
    poll_until(lambda: payload(gateway, [b"X" * 10]) != b"", what="there is room")
    whole = head(key, LENGTH, "Connection: close") + BODY
    with connected(gateway) as first, connected(gateway), connected(gateway):
        assert payload(gateway, [whole]) == b""
        first.sendall(whole)
        assert first.recv(65536).startswith(b"HTTP/1.1 200 ")
    poll_until(lambda: payload(gateway, [whole]).startswith(b"HTTP/1.1 200 "), what="there is room")


def test_client_that_reads_no_response_is_disconnected(
    start_gateway: GatewayProcessFactory, redis_url: str, key: str
) -> None:
    """It does not hold its connection for ever: the only place becomes free again."""
    limits = {"INGEST_GATEWAY_MAX_CONNECTIONS": "1", "INGEST_GATEWAY_BODY_TIMEOUT_S": "0.5"}
    gateway = start_gateway(redis_url, **limits)
    echoed = b'{"d":["' + b"a" * 7_000_000 + b'"]}'
    large = head(key, f"Content-Length: {len(echoed)}", "Connection: close") + echoed
    whole = head(key, LENGTH, "Connection: close") + BODY

    def begins_to_answer(connection: socket.socket) -> bool:
        try:
            connection.sendall(large)
            return connection.recv(9) == b"HTTP/1.1 "
        except ConnectionError:  # there is no room yet
            return False

    connections = []

    def one_is_taken() -> bool:
        connections.append(connected(gateway))
        return begins_to_answer(connections[-1])

    poll_until(one_is_taken, what="a large answer begins")
    poll_until(lambda: payload(gateway, [whole]).startswith(b"HTTP/1.1 200 "), what="there is room")
    for each in connections:
        each.close()


@pytest.mark.parametrize("size", [20, 1_000_000])
def test_offer_of_http_2_is_ignored(
    start_gateway: GatewayProcessFactory,
    redis_client: redis.Redis,
    redis_url: str,
    key: str,
    size: int,
) -> None:
    """Java's client and `curl --http2` offer it; the body is read, and the connection continues."""
    sent = head(key, *H2C, LENGTH) + BODY
    sent += head(key, *H2C, "Transfer-Encoding: chunked") + CHUNKED + b"\r\n"
    pieces = [sent[at : at + size] for at in range(0, len(sent), size)]
    pieces.append(head(key, LENGTH, "Connection: close") + BODY)
    got = payload(start_gateway(redis_url), pieces)
    assert got.count(b'"processed":1') == 3
    assert len(buffered(redis_client)) == 3


def test_thousands_of_pipelined_http_2_offers_are_answered(
    start_gateway: GatewayProcessFactory, redis_client: redis.Redis, redis_url: str, key: str
) -> None:
    """Each of two thousand pipelined requests that offer HTTP/2 is read and answered."""
    gateway = start_gateway(redis_url)
    offer = b"GET /healthz HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    got = payload(gateway, [offer * 2000 + head(key, LENGTH, "Connection: close") + BODY])
    assert (got.count(b"HTTP/1.1 200 "), got.count(b'"processed":1')) == (2001, 1)
    assert len(buffered(redis_client)) == 1
    assert "warning" not in gateway.process.output()


LARGE_BODY = 3_000_000  # more than the buffers of two sockets hold


@pytest.mark.parametrize("announced", [True, False])
def test_body_too_large_answers_413_to_a_client_that_is_still_sending(
    start_gateway: GatewayProcessFactory,
    redis_client: redis.Redis,
    redis_url: str,
    key: str,
    announced: bool,
) -> None:
    """The next request on its connection is accepted."""
    if announced:
        large = head(key, f"Content-Length: {LARGE_BODY}") + b"a" * LARGE_BODY
    else:
        chunks = (b"%x\r\n" % LARGE_BODY, b"a" * LARGE_BODY, b"\r\n0\r\n\r\n")
        large = head(key, "Transfer-Encoding: chunked") + b"".join(chunks)
    gateway = start_gateway(redis_url, INGEST_GATEWAY_MAX_BODY_BYTES="1000")
    got = payload(gateway, [large, head(key, LENGTH, "Connection: close") + BODY])
    assert got.startswith(b"HTTP/1.1 413 ")
    assert got.count(b'"processed":1') == 1
    assert len(buffered(redis_client)) == 1


def test_rejected_endless_body_ends_the_connection(
    start_gateway: GatewayProcessFactory, redis_url: str, key: str
) -> None:
    """The discarded rest of a body has no more time than a head."""
    limits = {"INGEST_GATEWAY_MAX_BODY_BYTES": "1000", "INGEST_GATEWAY_BODY_TIMEOUT_S": "0.2"}
    gateway = start_gateway(redis_url, **limits)
    got = payload(gateway, chain([head(key, "Content-Length: 1000000000")], repeat(b"a" * 1000)))
    assert got == b"" or got.startswith(b"HTTP/1.1 413 ")
    assert gateway.request("GET", "/healthz").status == 200


def test_trailer_changes_no_header(
    start_gateway: GatewayProcessFactory, redis_url: str, key: str
) -> None:
    """What follows a body changes nothing about its request."""
    trailers = b"Authorization: Bearer other\r\nIdempotency-Key: \r\n\r\n"
    whole = head(key, "Transfer-Encoding: chunked", "Connection: close") + CHUNKED + trailers
    assert payload(start_gateway(redis_url), [whole]).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("next_head", [b"nonsense\r\n\r\n", b"X" * 70_000])
def test_garbage_behind_a_request_does_not_become_its_response(
    start_gateway: GatewayProcessFactory, redis_url: str, key: str, next_head: bytes
) -> None:
    """An accepted request is not answered 4xx for what its client sent behind it."""
    whole = head(key, LENGTH) + BODY
    got = payload(start_gateway(redis_url), [whole + next_head])
    assert got == b"" or got.startswith(b"HTTP/1.1 200 ")
