"""Redis' answer is lost on its way: nothing is enqueued twice, and every response is true."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import pytest

from support.gateway import GatewayResponse, LocalGateway, event, gather_all


class Leak:
    """A proxy to Redis that closes a number of connections instead of passing on an answer."""

    def __init__(self, url: str, losses: int) -> None:
        self._to = urlsplit(url).port
        self._losses = losses
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server

    async def open(self) -> str:
        """Listen; return the address to use instead of Redis' own."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"

    async def close(self) -> None:
        """Stop listening."""
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        there, back = await asyncio.open_connection("127.0.0.1", self._to)
        try:
            with contextlib.suppress(ConnectionError):
                while asked := await reader.read(1 << 20):
                    back.write(asked)
                    answer = await there.read(1 << 20)
                    taking = b"EVAL" in asked and not answer.startswith(b"-")
                    if taking and self._losses:
                        self._losses -= 1
                        return
                    writer.write(answer)
        finally:
            writer.close()
            back.close()
            self._tasks.discard(task)


def through_a_leak(
    gateway: LocalGateway,
    losses: int,
    talk: Callable[[LocalGateway], Awaitable[list[GatewayResponse]]],
) -> list[GatewayResponse]:
    """Run requests against a gateway with a connection to Redis that loses answers."""

    async def leaking(_: LocalGateway) -> list[GatewayResponse]:
        leak = Leak(gateway.environ["REDIS_URL"], losses)
        other = LocalGateway(await leak.open(), gateway.key, gateway.client)
        try:
            return await other.within(talk)
        finally:
            await leak.close()

    return gateway.run(leaking)


async def five(gateway: LocalGateway) -> list[GatewayResponse]:
    """Send five requests at once."""
    return await gather_all([gateway.upload(event(str(number))) for number in range(5)])


def test_lost_answer_of_redis_is_requested_again_and_enqueues_once(gateway: LocalGateway) -> None:
    """The gateway repeats its call with the same token: all get 200, with one record each."""
    answers = through_a_leak(gateway, 1, five)
    assert [each.status for each in answers] == [200] * 5
    assert sorted(each["identity"] for each in gateway.buffered()) == list("01234")


@pytest.mark.parametrize("key", ["", "k1"])
def test_twice_lost_answer_of_redis_answers_503_as_unknown(gateway: LocalGateway, key: str) -> None:
    """503 says that the records may be there; with a key, a repeat enqueues no duplicate."""

    async def talk(gateway: LocalGateway) -> list[GatewayResponse]:
        headers = {"Idempotency_Key": key} if key else {}
        return [await gateway.upload(event(), **headers) for _ in range(2)]

    first, second = through_a_leak(gateway, 2, talk)
    assert (first.status, second.status) == (503, 200)
    assert "Redis did not answer" in first.json()["error"]
    assert "nothing was accepted" not in first.json()["error"]
    assert len(gateway.buffered()) == (1 if key else 2)
