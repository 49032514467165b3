"""The gateway as the Procfile runs it: a separate process, real sockets, a real Redis."""

from __future__ import annotations

import asyncio
import gzip
import signal
import socket
from collections import Counter
from collections.abc import Callable

import httpx
import orjson
import pytest
import redis

from support.gateway import (
    PROJECT,
    GatewayProcess,
    GatewayProcessFactory,
    buffered,
    event,
    tracked,
)
from support.polling import poll_until
from support.redis_servers import RedisFactory
from worker.connections.clients import worker_client
from worker.gateway.auth.api_keys import KeyTable

IDENTITY = "jane.doe@example.com"


def clevertap_headers(key: str, **more: str) -> dict[str, str]:
    """The headers of CleverTap's clients."""
    named = {name.replace("_", "-"): value for name, value in more.items()}
    return {"X-CleverTap-Account-Id": "ACC", "X-CleverTap-Passcode": key, **named}


@pytest.fixture
def key(redis_client: redis.Redis) -> str:
    """A producer's key."""
    return KeyTable(redis_client).create("shop")


def test_uploads_over_a_socket_are_enqueued(
    start_gateway: GatewayProcessFactory, redis_client: redis.Redis, redis_url: str, key: str
) -> None:
    """Both vendors' calls, compressed and plain, arrive; no response names the server software."""
    gateway = start_gateway(redis_url)
    body = orjson.dumps({"d": [event()]})
    plain = gateway.request("POST", "/1/upload", headers=clevertap_headers(key), body=body)
    folded = gateway.request(
        "POST",
        "/1/upload",
        headers=clevertap_headers(key, Content_Encoding="gzip"),
        body=gzip.compress(body),
    )
    tracking = gateway.request(
        "POST",
        f"{PROJECT}/customers/events",
        headers={"Authorization": f"Token {key}"},
        body=orjson.dumps(tracked()),
    )
    assert [plain.status, folded.status, tracking.status] == [200, 200, 200]
    assert "server" not in plain.headers
    assert len(buffered(redis_client)) == 2
    assert len(buffered(redis_client, "event", "bloomreach")) == 1


def test_access_log_contains_no_key_record_or_query(
    start_gateway: GatewayProcessFactory, redis_url: str, key: str
) -> None:
    """With a line for every request, none contains what a request sent, also for errors."""
    gateway = start_gateway(redis_url, INGEST_GATEWAY_ACCESS_LOG="all")
    for target in (
        f"/1/upload?email={IDENTITY}",
        f"/1/{IDENTITY}",
        f"/track/v2/projects/{IDENTITY}/batch",
    ):
        for body in (orjson.dumps({"d": [event(IDENTITY), event(IDENTITY, ts=0)]}), b"{jane.doe"):
            gateway.request(
                "POST", target, headers=clevertap_headers(key, X_Note=IDENTITY), body=body
            )
            gateway.request(
                "POST", target, headers=clevertap_headers("wrong-key-of-jane.doe"), body=body
            )
    log = poll_until(
        lambda: log if (log := gateway.process.output()).count("method=") >= 12 else "",
        what="all requests are logged",
    )
    assert "/1/upload" in log
    assert "producer=shop" in log
    assert "jane" not in log
    assert key not in log


def test_access_log_by_default_contains_errors_only(
    start_gateway: GatewayProcessFactory, redis_url: str, key: str
) -> None:
    """A successful request leaves no line; a failed one does."""
    gateway = start_gateway(redis_url)
    gateway.request(
        "POST", "/1/upload", headers=clevertap_headers(key), body=orjson.dumps({"d": [event()]})
    )
    gateway.request("POST", "/1/upload", headers=clevertap_headers(key), body=b"{")
    log = gateway.process.wait_for("method=")
    assert log.count("method=") == 1
    assert "status=400" in log


def test_two_processes_share_the_port_and_the_stored_responses(
    start_gateway: GatewayProcessFactory, redis_client: redis.Redis, redis_url: str, key: str
) -> None:
    """A repeat finds its response through either process, and both write logs."""
    gateway = start_gateway(
        redis_url, INGEST_GATEWAY_PROCESSES="2", INGEST_GATEWAY_ACCESS_LOG="all"
    )
    body = orjson.dumps({"d": [event()]})
    for _ in range(20):
        answer = gateway.request(
            "POST", "/1/upload", headers=clevertap_headers(key, Idempotency_Key="k1"), body=body
        )
        assert answer.status == 200
    assert len(buffered(redis_client)) == 1
    poll_until(lambda: gateway.process.output().count("producer=shop") == 20, what="20 lines")


def test_child_processes_stop_when_the_parent_is_killed(
    start_gateway: GatewayProcessFactory, redis_url: str
) -> None:
    """The children stop on their own and leave the port to the next gateway."""
    gateway = start_gateway(redis_url, INGEST_GATEWAY_PROCESSES="2")
    gateway.process.send(signal.SIGKILL)

    def is_free() -> bool:
        try:
            return gateway.request("GET", "/healthz").status != 200
        except httpx.TransportError:
            return True

    poll_until(is_free, what="nothing listens")


@pytest.mark.parametrize("begun", ["", "{"])
def test_incomplete_body_answers_408_at_the_timeout(
    start_gateway: GatewayProcessFactory, redis_url: str, key: str, begun: str
) -> None:
    """The connection ends when a client stops before its body or in the middle of it."""
    gateway = start_gateway(redis_url, INGEST_GATEWAY_BODY_TIMEOUT_S="1")
    payload = clevertap_headers(key, Content_Length="100")
    head = "".join(f"{name}: {value}\r\n" for name, value in payload.items())
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as connection:
        connection.sendall(f"POST /1/upload HTTP/1.1\r\nHost: x\r\n{head}\r\n{begun}".encode())
        got = b""
        while part := connection.recv(65536):
            got += part
    assert got.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    "request_line", ["nonsense", "POST /1/upload HTTP/9.9", "POST  HTTP/1.1", "\x00\x01"]
)
def test_garbage_instead_of_http_is_rejected(
    start_gateway: GatewayProcessFactory, redis_url: str, request_line: str
) -> None:
    """A malformed request line gets a 4xx or a closed connection, and the server continues."""
    gateway = start_gateway(redis_url)
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=60) as connection:
        connection.sendall(f"{request_line}\r\nHost: x\r\n\r\n".encode())
        connection.shutdown(socket.SHUT_WR)
        got = connection.recv(65536)
    assert got == b"" or got.startswith(b"HTTP/1.1 4")
    assert gateway.request("GET", "/healthz").status == 200


def test_wrong_setting_ends_the_process_before_it_listens(
    start_gateway: GatewayProcessFactory,
) -> None:
    """The process ends with the setting's name and the rule."""
    with pytest.raises(AssertionError, match="INGEST_GATEWAY_MAX_DEPTH: must be at most"):
        start_gateway("redis://127.0.0.1:1/0", INGEST_GATEWAY_MAX_DEPTH="1000")


def test_gateway_without_redis_stays_alive_and_answers_503(
    start_gateway: GatewayProcessFactory,
) -> None:
    """/healthz stays 200, /readyz and uploads are 503 with Retry-After."""
    gateway = start_gateway("redis://127.0.0.1:1/0")
    upload = gateway.request(
        "POST", "/1/upload", headers=clevertap_headers("any"), body=b'{"d":[]}'
    )
    ready = gateway.request("GET", "/readyz")
    assert gateway.request("GET", "/healthz").status == 200
    assert (upload.status, ready.status) == (503, 503)
    assert upload.headers["retry-after"] == ready.headers["retry-after"] == "1"
    assert "nothing was accepted" in upload.json()["error"]


def test_sigterm_answers_running_requests_before_the_end(
    start_gateway: GatewayProcessFactory, redis_client: redis.Redis, redis_url: str, key: str
) -> None:
    """After SIGTERM the process ends cleanly, and what it acknowledged is in Redis."""
    gateway = start_gateway(redis_url)
    payload = asyncio.run(_load(gateway, key, lambda: gateway.process.send(signal.SIGTERM)))
    assert gateway.process.popen.wait(60) in {0, -signal.SIGTERM}
    assert_all_in_redis(redis_client, payload)


def test_redis_killed_under_load_loses_no_acknowledged_record(
    start_gateway: GatewayProcessFactory, redis_factory: RedisFactory
) -> None:
    """Only 200 and 503 are answered, and what was acknowledged is there after the restart."""
    server = redis_factory()
    with worker_client(server.url) as client:
        key = KeyTable(client).create("shop")
        gateway = start_gateway(server.url)
        payload = asyncio.run(_load(gateway, key, server.kill))
        server.start()
        assert_all_in_redis(client, payload)
        assert set(payload.values()) == {200, 503}
        body = orjson.dumps({"d": [event("afterwards")]})

        def accepted_again() -> bool:
            answer = gateway.request("POST", "/1/upload", headers=clevertap_headers(key), body=body)
            assert answer.status in {200, 503}
            return answer.status == 200

        poll_until(accepted_again, what="records are accepted again")


def assert_all_in_redis(client: redis.Redis, payload: dict[str, int]) -> None:
    """What was acknowledged is in Redis, once; at most what was not answered beside it is too."""
    taken = Counter(each["identity"] for each in buffered(client))
    acknowledged = {identity for identity, status in payload.items() if status == 200}
    assert acknowledged
    assert acknowledged <= set(taken)
    assert max(taken.values()) == 1


async def _load(gateway: GatewayProcess, key: str, strike: Callable[[], object]) -> dict[str, int]:
    """Upload single events from many clients; strike in the middle; the status of each, or 0."""
    payload: dict[str, int] = {}
    warm, struck = asyncio.Event(), asyncio.Event()
    headers = clevertap_headers(key)

    async def client(number: int, http: httpx.AsyncClient) -> None:
        left = 20  # turns after the strike
        for turn in range(2000):
            left -= struck.is_set()
            if not left:
                return
            identity = f"{number}-{turn}"
            body = orjson.dumps({"d": [event(identity)]})
            try:
                answer = await http.post("/1/upload", content=body, headers=headers)
            except httpx.TransportError:
                payload[identity] = 0
                if gateway.process.returncode is not None:
                    return
            else:
                payload[identity] = answer.status_code
                if len(payload) >= 200:
                    warm.set()

    async def striker() -> None:
        await warm.wait()
        await asyncio.to_thread(strike)
        struck.set()

    async with httpx.AsyncClient(base_url=gateway.url, timeout=60, trust_env=False) as http:
        await asyncio.gather(striker(), *(client(number, http) for number in range(16)))
    return payload
