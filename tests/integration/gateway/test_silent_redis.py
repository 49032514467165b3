"""A Redis that reads and never answers: all requests fail soon, however many there are."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator

import pytest

from support.gateway import (
    GatewayResponse,
    LocalGateway,
    LocalGatewayFactory,
    event,
    gather_all,
)
from support.proxy import Proxy
from worker.connections.embedded.server import EmbeddedRedis

TIMEOUT_S = 1.0
MANY = 20
# One after the other they would take MANY timeouts (20 s) at least.
SOON_S = 10.0


@pytest.fixture
def proxy(redis_server: EmbeddedRedis) -> Iterator[Proxy]:
    """A proxy before the Redis of the other fixtures."""
    with Proxy(int(redis_server.url.rpartition(":")[2].partition("/")[0])) as proxy:
        yield proxy


@pytest.fixture
def behind(gateway_factory: LocalGatewayFactory, proxy: Proxy) -> LocalGateway:
    """A gateway behind that proxy, which gives Redis little time."""
    return gateway_factory(REDIS_URL=proxy.url, INGEST_GATEWAY_REDIS_TIMEOUT_S=str(TIMEOUT_S))


async def timed(
    asked: Callable[[], Awaitable[list[GatewayResponse]]],
) -> tuple[list[GatewayResponse], float]:
    """The answers, and how long the last one took."""
    began = time.monotonic()
    return await asked(), time.monotonic() - began


def test_requests_waiting_for_the_keys_share_one_failure(
    behind: LocalGateway, proxy: Proxy
) -> None:
    """The table is read once for all waiting requests, also when that fails."""
    proxy.freeze(newcomers=True)

    answers, took_s = behind.run(
        lambda gateway: timed(lambda: gather_all([gateway.upload(event()) for _ in range(MANY)]))
    )
    assert {each.status for each in answers} == {503}
    texts = {each.json()["error"] for each in answers}
    assert texts == {"Redis is unavailable: nothing was accepted"}
    assert took_s < SOON_S


def test_requests_behind_a_failed_call_fail_with_it(behind: LocalGateway, proxy: Proxy) -> None:
    """Records that were not sent are not sent later, when their client is long gone."""

    async def talk(gateway: LocalGateway) -> tuple[list[GatewayResponse], float]:
        assert (await gateway.upload(event())).status == 200
        proxy.freeze(newcomers=True)
        full = [event()] * 600  # two of these do not go into one call
        return await timed(lambda: gather_all([gateway.upload(*full) for _ in range(MANY)]))

    answers, took_s = behind.run(talk)
    texts = [each.json()["error"] for each in answers]
    assert {each.status for each in answers} == {503}
    assert sum("nothing was accepted" in text for text in texts) == MANY - 1
    assert took_s < SOON_S


def test_uploads_are_accepted_again_when_redis_recovers(behind: LocalGateway, proxy: Proxy) -> None:
    """A failure is shared by the requests that waited for it, not by later ones."""

    async def talk(gateway: LocalGateway) -> list[GatewayResponse]:
        proxy.freeze(newcomers=True)
        away = await gateway.upload(event())
        proxy.thaw()
        return [away, await gateway.upload(event())]

    assert [each.status for each in behind.run(talk)] == [503, 200]
    assert len(behind.buffered()) == 1
