"""The configuration files for deployment, as Redis and Flower read them."""

from __future__ import annotations

import base64
import os
import re
import subprocess
from pathlib import Path

import httpx
import pytest
import redis
import yaml

from support.environment import ROOT, environment
from support.polling import poll_until
from support.processes import Process, Processes, procfile
from support.redis_servers import RedisFactory
from worker.connections.clients import operator_client
from worker.connections.embedded.processes import RedisBinary, redis_binaries

LOGIN = "ada:correct horse"


@pytest.mark.parametrize("binary", redis_binaries(), ids=str)
def test_redis_conf_is_accepted_by_each_redis(
    binary: RedisBinary, processes: Processes, free_port: int, tmp_path: Path
) -> None:
    """Each Redis on this machine starts with config/redis.conf and does not evict."""
    conf = ROOT / "config" / "redis.conf"
    options = ["--port", str(free_port), "--dir", str(tmp_path), "--bind", "127.0.0.1"]
    server = processes.run([str(binary.path), str(conf), *options], env=environment({}))
    server.wait_for("Ready to accept connections")
    with redis.Redis(port=free_port) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("appendonly") == {"appendonly": "yes"}
    assert server.stop() == 0


def run_flower(given: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Flower by its Procfile line, once it has ended."""
    command, env = procfile()["flower"], environment(given)
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("login", [{}, {"FLOWER_BASIC_AUTH": ""}, {"FLOWER_BASIC_AUTH": "ada"}])
def test_flower_without_a_login_does_not_start(login: dict[str, str], redis_url: str) -> None:
    """Without a name and a password Flower exits immediately and says what to set."""
    ended = run_flower({"REDIS_URL": redis_url, **login})
    assert ended.returncode != 0
    assert re.search(r"FLOWER_BASIC_AUTH(: must be| to) name:password", ended.stderr)


@pytest.mark.parametrize("port", ["web", "99999"])
def test_flower_with_an_invalid_port_exits_with_one_line(port: str, redis_url: str) -> None:
    """Flower alone would show a traceback, or silently listen on another port."""
    given = {"REDIS_URL": redis_url, "FLOWER_BASIC_AUTH": LOGIN, "FLOWER_PORT": port}
    ended = run_flower(given)
    assert ended.returncode == 1
    assert ended.stderr == f"FLOWER_PORT: must be 1-65535, not {port!r}\n"


def test_flower_with_a_missing_login_file_exits_with_one_line(
    redis_url: str, tmp_path: Path
) -> None:
    """The message names the variable and the reason."""
    given = {"REDIS_URL": redis_url, "FLOWER_BASIC_AUTH_FILE": str(tmp_path / "none")}
    ended = run_flower(given)
    assert ended.returncode != 0
    assert ended.stderr.splitlines()[-1] == (
        "FLOWER_BASIC_AUTH_FILE: cannot read the file: No such file or directory"
    )


def start_flower(processes: Processes, port: int, env: dict[str, str]) -> Process:
    """Flower by its Procfile line, on a port of the test's own, answering."""
    flower = processes.start("flower", f"--port={port}", env=env)

    def healthy() -> bool:
        assert flower.returncode is None, flower.output()
        try:
            return httpx.get(f"http://127.0.0.1:{port}/healthcheck", timeout=60).is_success
        except httpx.TransportError:
            return False

    poll_until(healthy, what="Flower answers")
    return flower


def test_flower_pages_require_the_login(
    processes: Processes, free_port: int, redis_factory: RedisFactory
) -> None:
    """Pages and API are refused without the login and open with it."""
    url = redis_factory().url
    start_flower(processes, free_port, {"REDIS_URL": url, "FLOWER_BASIC_AUTH": LOGIN})
    basic = {"Authorization": "Basic " + base64.b64encode(LOGIN.encode()).decode()}
    for page in ("/", "/workers", "/tasks", "/broker", "/api/tasks"):
        answer = httpx.get(f"http://127.0.0.1:{free_port}{page}", timeout=60)
        assert answer.status_code == 401, page
    url = f"http://127.0.0.1:{free_port}/api/tasks"
    answer = httpx.get(url, headers=basic, timeout=60)
    assert answer.status_code == 200


def test_flower_reads_its_login_from_a_file(
    processes: Processes, free_port: int, redis_factory: RedisFactory, tmp_path: Path
) -> None:
    """FLOWER_BASIC_AUTH_FILE names a file with the login; its line feed is ignored."""
    file = tmp_path / "login"
    file.write_text(LOGIN + "\n")
    server = redis_factory()
    env = {"REDIS_URL": server.url, "FLOWER_BASIC_AUTH_FILE": str(file)}
    start_flower(processes, free_port, env)
    name, _, password = LOGIN.partition(":")
    url = f"http://127.0.0.1:{free_port}/api/tasks"
    answer = httpx.get(url, auth=(name, password), timeout=60)
    assert answer.status_code == 200
    with operator_client(server.url) as client:
        assert client.ping()


def test_worker_health_check_fails_without_recent_heartbeats(
    processes: Processes, redis_factory: RedisFactory, tmp_path: Path
) -> None:
    """The command in the compose file passes while the watchdog touches its file, and fails before
    the first time and when the last time is too long ago."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["worker"]
    path = compose["environment"]["INGEST_HEARTBEAT_PATH"]
    shell, command = compose["healthcheck"]["test"]
    assert shell == "CMD-SHELL"
    assert path in command
    heartbeat = tmp_path / "heartbeat"
    command = command.replace(path, str(heartbeat))

    def healthy() -> bool:
        checked = subprocess.run(["/bin/sh", "-c", command], capture_output=True, check=False)
        return checked.returncode == 0

    assert not healthy()
    env = {"REDIS_URL": redis_factory().url, "INGEST_HEARTBEAT_PATH": str(heartbeat)}
    worker = processes.start("worker", env=env)
    poll_until(healthy, what="the worker is well")
    assert worker.returncode is None, worker.output()
    worker.kill()
    last = heartbeat.stat().st_mtime - 120
    os.utime(heartbeat, (last, last))
    assert not healthy()
