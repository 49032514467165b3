"""Services that a machine may lack: their tests are skipped there, and fail where CI=true."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from support.environment import environment
from support.polling import poll_until
from support.ports import find_free_port, listens
from support.processes import Process, Processes


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


class RabbitMQ:
    """A RabbitMQ on loopback; after `kill`, `start` brings it back with its data and address."""

    def __init__(self, program: Path, processes: Processes, folder: Path) -> None:
        self.port, names, distribution = (find_free_port() for _ in range(3))
        self._processes = processes
        self._command = [str(program)]
        self._env = environment(
            {
                "ERL_EPMD_PORT": str(names),
                "ERL_EPMD_ADDRESS": "127.0.0.1",
                "HOME": str(folder),
                "RABBITMQ_CONF_ENV_FILE": "/dev/null",
                "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
                "RABBITMQ_LOGS": "-",
                "RABBITMQ_LOG_BASE": str(folder),
                "RABBITMQ_MNESIA_BASE": str(folder / "data"),
                "RABBITMQ_NODENAME": f"test{self.port}@localhost",
                "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
                "RABBITMQ_NODE_PORT": str(self.port),
                "RABBITMQ_DIST_PORT": str(distribution),
                "RABBITMQ_PID_FILE": str(folder / "pid"),
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                    "-kernel inet_dist_use_interface {127,0,0,1}"
                ),
            }
        )
        # Erlang would start its name server on its own, and leave it running for ever.
        self._processes.run(["epmd"], env=self._env, name="epmd")
        poll_until(lambda: listens(names), what="epmd listens")
        self._running = self.start()

    @property
    def url(self) -> str:
        """The address to give as CELERY_BROKER_URL."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def start(self) -> Process:
        """Start it, and wait until it takes connections."""
        started = self._processes.run(self._command, env=self._env, name="rabbitmq")
        ready = "Server startup complete"
        poll_until(lambda: ready in started.output(), what="RabbitMQ starts")
        self._running = started
        return started

    def kill(self) -> None:
        """End it as a crash does."""
        self._running.kill()


@pytest.fixture
def rabbitmq(processes: Processes, tmp_path: Path) -> RabbitMQ:
    """A RabbitMQ of the test's own, which ends with the test's processes."""
    # Debian's wrapper in /usr/sbin changes the user; the program behind it does not.
    behind = "/usr/lib/rabbitmq/bin/rabbitmq-server"
    found = behind if Path(behind).exists() else _which("rabbitmq-server")
    server = require(
        found,
        "no rabbitmq-server on the PATH: install it to run the tests of another broker",
    )
    require(_which("epmd"), "no epmd on the PATH: install Erlang's to run the tests of RabbitMQ")
    return RabbitMQ(server, processes, tmp_path)
