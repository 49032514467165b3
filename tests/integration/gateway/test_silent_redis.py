"""A Redis that takes and says nothing: everybody is told so soon, however many they are."""

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


def test_many_who_wait_for_the_keys_are_told_at_once(behind: LocalGateway, proxy: Proxy) -> None:
    """One look at the table is made for all who wait for it, also when it fails."""
    proxy.freeze(newcomers=True)

    async def talk(gateway: LocalGateway) -> tuple[list[GatewayResponse], float]:
        return await timed(lambda: gather_all([gateway.upload(event()) for _ in range(MANY)]))

    answers, took_s = behind.run(talk)
    assert {each.status for each in answers} == {503}
    texts = {each.json()["error"] for each in answers}
    assert texts == {"Redis is unavailable: nothing was accepted"}
    assert took_s < SOON_S


def test_who_waits_behind_a_failed_call_is_told_at_its_end(
    behind: LocalGateway, proxy: Proxy
) -> None:
    """What was not sent is not sent later, when its client has long gone: it is refused whole."""

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


def test_records_are_taken_again_when_redis_speaks(behind: LocalGateway, proxy: Proxy) -> None:
    """A failure is remembered by those who waited for it, and by nobody who comes later."""

    async def talk(gateway: LocalGateway) -> list[GatewayResponse]:
        proxy.freeze(newcomers=True)
        away = await gateway.upload(event())
        proxy.thaw()
        return [away, await gateway.upload(event())]

    assert [each.status for each in behind.run(talk)] == [503, 200]
    assert len(behind.buffered()) == 1
