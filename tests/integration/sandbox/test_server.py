"""The sandbox as a server, spoken to over real sockets."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import httpx
import pytest

from support.environment import environment
from support.sandbox import ACCOUNT, KEY, events
from worker.sandbox.server import Running, running
from worker.sandbox.settings import SandboxSettings


@pytest.fixture
def sandbox() -> Iterator[Running]:
    """One as shipped, of its own."""
    with running() as started:
        yield started


@pytest.fixture
def client(sandbox: Running) -> Iterator[httpx.Client]:
    """Speaks to it with the right credentials of both vendors."""
    with httpx.Client(base_url=sandbox.url, headers=ACCOUNT | KEY, timeout=60) as opened:
        yield opened


@pytest.mark.parametrize("status", [204, 304])
def test_http_fault_without_a_body_keeps_the_connection(client: httpx.Client, status: int) -> None:
    """Such a status has no body, and the connection serves the next request."""
    client.post("/sandbox/faults", json={"status": status, "times": 1})
    assert client.post("/1/upload", json=events(1)).content == b""
    assert client.post("/1/upload", json=events(1)).json()["processed"] == 1


def test_settings_close_connections_and_limit_bodies() -> None:
    """The recorded server closes each connection; a body limit provokes 413."""
    with running(SandboxSettings(close_connections=True, max_body_bytes=500)) as sandbox:
        url = f"{sandbox.url}/1/upload"
        answer = httpx.post(url, json=events(1), headers=ACCOUNT, timeout=60)
        assert answer.headers["connection"].lower() == "close"
        large = httpx.post(url, json=events(*range(9)), headers=ACCOUNT, timeout=60)
        assert large.status_code == 413


def test_serve_announces_itself_and_stops_on_ctrl_c() -> None:
    """It announces a development tool, serves, and ends cleanly."""
    command = [sys.executable, "-c", "from worker.sandbox.server import serve; serve(port=0)"]
    env = environment({"INGEST_SANDBOX_PASSCODE": "given"})
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as served:
        assert served.stderr is not None
        guard = threading.Timer(120, served.kill)
        guard.start()
        try:
            line = served.stderr.readline()
            assert "a development tool, not the vendors" in line
            address = next(word for word in line.split() if word.startswith("http"))
            headers = ACCOUNT | {"X-CleverTap-Passcode": "given"}
            url = f"{address}/1/upload"
            answer = httpx.post(url, json=events(1), headers=headers, timeout=60)
            assert answer.status_code == 200
            served.send_signal(signal.SIGINT)
            assert served.wait(60) == 0
            assert "Traceback" not in served.stderr.read()
        finally:
            guard.cancel()
            served.kill()
