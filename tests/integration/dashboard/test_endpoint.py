"""Forms that are too large or too slow, and a Redis that is full, away or hanging."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator

import pytest
import redis

from support.gateway import GatewayProcessFactory
from support.pages import (
    DESTINATION_PAGE,
    Visitor,
    VisitorFactory,
    add_dead_letter,
    audit_actions,
    group_path,
)
from support.pipeline import stored_profile
from support.redis_servers import RedisFactory
from worker.buffer import keys


def test_full_redis_can_be_paused_and_purged(
    visitor_of: VisitorFactory, redis_factory: RedisFactory
) -> None:
    """Operators make room then: sign-in, pause, purge and sign-out work, and are audited."""
    server = redis_factory()
    visitor = visitor_of(REDIS_URL=server.url)
    client = redis.Redis.from_url(server.url)
    assert visitor.sign_in().status_code == 303
    add_dead_letter(client, stored_profile("a"))
    client.config_set("maxmemory", "1")
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        client.set("x", "y")
    assert visitor.send("/logout", seen="/audit").status_code == 303
    assert visitor.sign_in("operator", "wrong").status_code == 401
    assert visitor.sign_in().status_code == 303
    assert visitor.send(DESTINATION_PAGE, action="pause").status_code == 303
    assert client.hget(keys.state("clevertap"), "status") == b"paused"
    purged = visitor.send(group_path(visitor), action="purge")
    assert purged.headers["location"].endswith("n=1")
    actions = [action for _, action, _ in audit_actions(client)]
    assert actions == ["purged", "paused", "signed in", "signed out", "signed in"]
    client.close()


def test_full_redis_without_room_for_the_first_visit_is_reported(
    visitor_of: VisitorFactory, redis_factory: RedisFactory
) -> None:
    """Before the first sign-in there is no secret yet, and none can be stored."""
    server = redis_factory()
    client = redis.Redis.from_url(server.url)
    client.config_set("maxmemory", "1")
    response = visitor_of(REDIS_URL=server.url).get("/login")
    assert (response.status_code, "Redis is full" in response.text) == (503, True)
    client.close()


def test_redis_that_dies_during_an_action_is_reported_as_that(
    visitor_of: VisitorFactory, redis_factory: RedisFactory
) -> None:
    """The page says that the action may have been completed, so that it is checked first."""
    server = redis_factory()
    visitor = visitor_of(REDIS_URL=server.url)
    assert visitor.sign_in().status_code == 303
    token = visitor.token("/")
    server.kill()
    page = visitor.post(DESTINATION_PAGE, {"token": token, "action": "pause"})
    assert page.status_code == 503
    assert "may have been completed, in part or not at all" in page.text
    assert "in part" not in visitor.get("/").text


def test_redis_that_is_away_is_reported_and_the_gateway_lives_on(
    visitor_of: VisitorFactory, redis_factory: RedisFactory
) -> None:
    """With the status that load balancers understand."""
    server = redis_factory()
    visitor = visitor_of(REDIS_URL=server.url)
    assert visitor.sign_in().status_code == 303
    server.kill()
    response = visitor.get("/")
    assert response.status_code == 503
    assert "Redis does not answer" in response.text
    assert visitor.get("/healthz").status_code == 200


def test_redis_that_hangs_is_reported_within_seconds(
    visitor_of: VisitorFactory, redis_factory: RedisFactory
) -> None:
    """It accepts connections and stays silent; a person does not wait half a minute."""
    server = redis_factory()
    visitor = visitor_of(REDIS_URL=server.url)
    assert visitor.sign_in().status_code == 303
    assert server.pid
    os.kill(server.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        response = visitor.get("/")
        assert time.monotonic() - began < 10
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert "Redis does not answer" in response.text


def test_client_that_disconnects_during_a_form_leaves_no_traceback(
    redis_url: str, start_gateway: GatewayProcessFactory
) -> None:
    """Any client can do that; it is not our failure."""
    served = start_gateway(
        redis_url, INGEST_DASHBOARD_PASSWORD="x", INGEST_GATEWAY_ACCESS_LOG="all"
    )
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.sendall(b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nuser=")
    output = served.process.wait_for("route=/login")
    assert "Traceback" not in output


def test_form_that_does_not_arrive_in_time_is_refused(
    monkeypatch: pytest.MonkeyPatch, visitor: Visitor
) -> None:
    """A client that sends half a form holds no resources for long."""
    monkeypatch.setattr("worker.dashboard.endpoint.MAX_FORM_S", 0.1)

    async def half() -> AsyncIterator[bytes]:
        yield b"user="
        await asyncio.sleep(30)

    assert visitor.request("POST", "/login", content=half()).status_code == 408


def test_form_that_is_too_large_is_refused(operator: Visitor) -> None:
    """A form cannot fill the gateway's memory."""
    response = operator.post(DESTINATION_PAGE, {"reason": "x" * 4_000_000})
    assert response.status_code == 413


def test_large_form_without_a_session_is_not_read(visitor: Visitor) -> None:
    """At most 16 KB of it are kept, so thousands of such clients need little memory."""
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        yield b"reason="
        for _ in range(40):
            read += 1
            yield b"x" * 4096

    response = visitor.request("POST", DESTINATION_PAGE, content=endless())
    assert response.headers["location"] == f"/login?ended=1&next={DESTINATION_PAGE}"
    assert visitor.request("POST", "/login", content=endless()).status_code == 403
    assert read < 10
    visitor.sign_in()
    read = 0
    response = visitor.request("POST", DESTINATION_PAGE, content=endless())
    assert (response.status_code, read) == (403, 40)  # read, but without a token
