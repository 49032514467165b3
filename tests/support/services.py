"""Services that a machine may lack: their tests are skipped there, and fail where CI=true."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.environment import environment
from support.polling import poll_until
from support.ports import find_free_port
from support.processes import Processes


def require(path: str | None, missing: str) -> Path:
    """The program found; otherwise the test is skipped, or fails in CI, with the sentence given."""
    if path is not None:
        return Path(path)
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing)


def _which(*names: str) -> str | None:
    return next(filter(None, map(shutil.which, names)), None)


@pytest.fixture(scope="session")
def chromium() -> Path:
    """A browser that can be run headless."""
    found = _which("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return require(found, "no chromium on the PATH: install it to run the browser's tests")


def chromedriver_of(chromium: Path) -> Path:
    """What drives it; both are one version when one package system brought them."""
    missing = f"no chromedriver on the PATH: install that of {chromium.name} to run its tests"
    return require(_which("chromedriver"), missing)


@pytest.fixture
def rabbitmq(processes: Processes, tmp_path: Path) -> Iterator[str]:
    """The address (amqp://) of a RabbitMQ of the test's own."""
    # Debian's wrapper in /usr/sbin changes the user; the program behind it does not.
    behind = "/usr/lib/rabbitmq/bin/rabbitmq-server"
    found = behind if Path(behind).exists() else _which("rabbitmq-server")
    server = require(
        found,
        "no rabbitmq-server on the PATH: install it to run the tests of another broker",
    )
    port, distribution = find_free_port(), find_free_port()
    own = {
        "HOME": str(tmp_path),
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(tmp_path / "plugins"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_LOG_BASE": str(tmp_path),
        "RABBITMQ_MNESIA_BASE": str(tmp_path / "data"),
        "RABBITMQ_NODENAME": f"test{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_PID_FILE": str(tmp_path / "pid"),
    }
    started = processes.run([str(server)], env=environment(own), name="rabbitmq")
    poll_until(lambda: "Starting broker... completed" in started.output(), 60, "RabbitMQ starts")
    yield f"amqp://guest:guest@127.0.0.1:{port}//"
    started.stop()
