"""The whole system on one machine: Redis, the vendors' sandbox, worker, beat, gateway and Flower.

What is configured is used; the rest is provided: a private Redis if REDIS_URL is not set, the
sandbox if no destination has its secrets, logins for the dashboard and for Flower.
"""

from __future__ import annotations

import os
import secrets
import shlex
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from ..connections.embedded.processes import alive
from ..connections.embedded.server import EmbeddedRedis, free_port
from ..dashboard.settings import DashboardSettings
from ..errors import SettingsError
from ..sandbox.settings import ENVIRONMENT_PREFIX, SandboxSettings
from ..settings.destination import lacking
from ..settings.settings import Settings
from ..settings.third_party import flower_logins
from .supervisor import Program, Supervisor, commands

# After SIGTERM, a worker's requests in flight may take 20 s more; then it settles them.
WORKER_STOPS_WITHIN_S = 25.0
STOP_ORDER = ("web", "beat", "worker", "flower", "sandbox")


class LocalSystem:
    """Starts and stops everything; records stay in ``folder`` from one run to the next.

    ``env`` is the processes' environment and ``settings`` what it says; both are complete after
    `prepare`. ``shared_env`` is the file that gives another terminal what was provided; it exists
    while this runs, if anything was.
    """

    def __init__(self, environ: Mapping[str, str], folder: Path = Path("var")) -> None:
        self.env = dict(environ)
        self.settings = Settings.from_env(environ)
        self.folder = folder
        self.supervisor = Supervisor(folder / "log")
        self.redis: EmbeddedRedis | None = None
        self.sandbox_url: str | None = None
        self.flower_url = ""
        self.flower_login: str | None = None
        self.web_url = ""
        self.dashboard_login: str | None = None
        self._provided: dict[str, str] = {}
        self.shared_env: Path | None = None

    def prepare(self, sandbox_port: int, flower_port: int, web_port: int) -> None:
        """Provide what is not configured, and start Redis; other ports are taken if these are used.

        SettingsError if there is still no enabled destination; EmbeddedRedisError.
        """
        if not any(self.settings.enabled()):
            for each in self.settings.destinations.values():
                if missing := ", ".join(lacking(each)):  # half of them do not ask for the sandbox
                    raise SettingsError(f"destinations.{each.name}: {missing} is not set")
            self._use_sandbox(free_port(sandbox_port))
        self.flower_url = _loopback(free_port(flower_port))
        self.web_url = _loopback(free_port(web_port))
        self.env["PORT"] = _port(self.web_url)
        self._use_logins()
        self.env.setdefault("INGEST_BEAT_SCHEDULE", str((self.folder / "beat-schedule").resolve()))
        if not self.settings.redis_url.reveal():
            self.redis = EmbeddedRedis(self.folder / "redis")
            self.redis.start()
            self._provided["REDIS_URL"] = self.redis.url
        self.env |= self._provided
        self.settings = Settings.from_env(self.env)
        if not any(self.settings.enabled()):
            raise SettingsError("no destination is enabled: set the secrets of one")
        if self._provided:
            self._share()

    def _use_sandbox(self, port: int) -> None:
        zones = (each.timezone.key for each in self.settings.destinations.values())
        # In another time zone the sandbox would count events on other days: no reconciliation.
        self.env.setdefault(f"{ENVIRONMENT_PREFIX}TIME_ZONE", next(zones))
        try:
            sandbox = SandboxSettings.from_env(self.env)
        except ValueError as error:
            raise SettingsError(str(error)) from None
        self.sandbox_url = _loopback(port)
        self._provided = {
            "CLEVERTAP_ACCOUNT_ID": sandbox.account_id,
            "CLEVERTAP_PASSCODE": sandbox.passcode,
            "CLEVERTAP_BASE_URL": self.sandbox_url,
            "BLOOMREACH_PROJECT_TOKEN": sandbox.project_token,
            "BLOOMREACH_API_KEY_ID": sandbox.api_key_id,
            "BLOOMREACH_API_SECRET": sandbox.api_secret,
            "BLOOMREACH_BASE_URL": self.sandbox_url,
        }

    def _use_logins(self) -> None:
        """Give Flower and the dashboard a login if they have none: Flower would be open to all."""
        logins = flower_logins(self.env)
        if not logins:
            self.flower_login = f"ingest:{secrets.token_urlsafe(9)}"
        self.env["FLOWER_BASIC_AUTH"] = self.flower_login or ",".join(logins)
        if not DashboardSettings.from_env(self.env).on:
            password = secrets.token_urlsafe(9)
            self.env["INGEST_DASHBOARD_PASSWORD"] = password
            self.dashboard_login = f"{DashboardSettings.from_env(self.env).user}:{password}"

    def _share(self) -> None:
        """Write what was provided into a file that only we may read."""
        self.folder.mkdir(parents=True, exist_ok=True)
        shared = self.folder / "env"
        shared.unlink(missing_ok=True)
        shared.touch(mode=0o600)
        lines = [f"export {name}={shlex.quote(value)}\n" for name, value in self._provided.items()]
        # So that `ingest` is found there too, without .venv/bin/activate.
        lines.append(f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"\n')
        shared.write_text("".join(lines))
        self.shared_env = shared

    def start_sandbox(self) -> None:
        """Start the sandbox if one is used; see `sandbox_answers`."""
        if self.sandbox_url:
            port = ("--port", _port(self.sandbox_url))
            command = [sys.executable, "-m", "worker.cli", "sandbox", *port]
            self.supervisor.start(Program("sandbox", command, self.env))

    def sandbox_answers(self) -> bool:
        """Return whether the sandbox accepts connections, or none is needed."""
        if self.sandbox_url is None:
            return True
        with socket.socket() as probe:
            probe.settimeout(1.0)
            return probe.connect_ex(("127.0.0.1", int(_port(self.sandbox_url)))) == 0

    def start(self) -> None:
        """Start the worker, beat, the gateway and Flower."""
        lines = commands()
        # Several systems on one machine may share a broker: each worker needs a unique name.
        worker = [*lines["worker"], f"--hostname=up-{os.getpid()}@%h"]
        self.supervisor.start(Program("worker", worker, self.env, WORKER_STOPS_WITHIN_S))
        flower = [*lines["flower"], f"--port={_port(self.flower_url)}"]
        for name, command in (("beat", lines["beat"]), ("web", lines["web"]), ("flower", flower)):
            self.supervisor.start(Program(name, command, self.env))

    def poll(self) -> list[str]:
        """Restart what ended; return what happened, in words."""
        events = self.supervisor.poll()
        if self.redis and self.redis.pid and not alive(self.redis.pid):
            self.redis.kill()  # forgets the process; `start` then uses the same port and data
            self.redis.start()
            events.append("Redis ended, and was restarted with its data")
        return events

    def stop(self, hurry: Callable[[], bool]) -> list[str]:
        """Stop everything but Redis; return the names of those that had to be killed."""
        if self.shared_env:  # never that of another system, which holds the folder
            self.shared_env.unlink(missing_ok=True)
        return self.supervisor.stop(STOP_ORDER, hurry)

    def stop_redis(self) -> None:
        """Stop the private Redis, with everything on disk; EmbeddedRedisError if it does not."""
        if self.redis:
            self.redis.stop()


def _loopback(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _port(url: str) -> str:
    return url.rpartition(":")[2]
