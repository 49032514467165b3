"""Real Redis servers for tests: one shared by a test process, others as a test needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from support.ports import find_free_port
from worker.connections.clients import worker_client
from worker.connections.embedded.processes import RedisBinary, redis_binaries
from worker.connections.embedded.server import EmbeddedRedis

RedisFactory = Callable[..., EmbeddedRedis]


def _served(
    folders: pytest.TempPathFactory, binary: RedisBinary | None = None
) -> Iterator[EmbeddedRedis]:
    folder, port = folders.mktemp("redis"), find_free_port()
    server = EmbeddedRedis(folder, appendfsync="no", port=port, binary=binary)
    server.start()
    yield server
    server.kill()


def _flushed(server: EmbeddedRedis) -> Iterator[redis.Redis]:
    with worker_client(server.url) as client:
        client.flushall()
        # What a test set on the server must not outlive it.
        client.config_set("maxmemory", "1gb")
        yield client


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """The Redis of this test process. Tests that stop or kill one ask `redis_factory`."""
    yield from _served(tmp_path_factory)


@pytest.fixture
def redis_client(redis_server: EmbeddedRedis) -> Iterator[redis.Redis]:
    """A client of the shared Redis, which is empty."""
    yield from _flushed(redis_server)


@pytest.fixture
def redis_url(redis_client: redis.Redis, redis_server: EmbeddedRedis) -> str:
    """The address of the shared Redis, which is empty."""
    return redis_server.url


@pytest.fixture
def redis_factory(tmp_path: Path) -> Iterator[RedisFactory]:
    """Starts a Redis of the test's own: `redis_factory(appendfsync="always")`, with the options of
    EmbeddedRedis; its `stop`, `kill` and `start` keep address and data."""
    started: list[EmbeddedRedis] = []

    def make(folder: Path | None = None, **options: object) -> EmbeddedRedis:
        folder = folder or tmp_path / f"redis-{len(started)}"
        given = {"port": find_free_port(), **options}
        server = EmbeddedRedis(folder, **given)  # type: ignore[arg-type] # checked where used
        started.append(server)
        return server.start()

    yield make
    for server in started:
        server.kill()


@pytest.fixture(scope="session", params=redis_binaries(), ids=str)
def every_redis_server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EmbeddedRedis]:
    """A server of each Redis on this machine in turn."""
    yield from _served(tmp_path_factory, request.param)


@pytest.fixture
def every_redis(every_redis_server: EmbeddedRedis) -> Iterator[redis.Redis]:
    """A client of each Redis on this machine in turn, empty: for tests of scripts."""
    yield from _flushed(every_redis_server)
