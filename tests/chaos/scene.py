"""The system under test: Redis, workers, beats, web apps and the vendor, from start to end."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from redis.exceptions import RedisError

from support.environment import ROOT, environment
from support.polling import poll_until
from support.processes import procfile
from worker.buffer.buffer import Buffer
from worker.buffer.status import DestinationStatus
from worker.connections.clients import operator_client, worker_client
from worker.connections.embedded.server import EmbeddedRedis
from worker.settings.settings import Settings

from .hostile import HostileVendor
from .ledger import Ledger
from .supervised_process import SupervisedProcess

BEATS, WEB_APPS = 2, 2
STOP_WITHIN_S = 25.0
SAMPLE_EVERY_S = 0.4
#: Short, so that a killed worker's batches are sent again while other processes are killed.
TIMES = {
    "INGEST_DRAIN_INTERVAL_S": "0.5",
    "INGEST_MAX_WAIT_S": "1",
    "INGEST_REQUEST_TIMEOUT_S": "2",
    "INGEST_LEASE_S": "6",
    "INGEST_BACKOFF_BASE_S": "0.1",
    "INGEST_BACKOFF_CAP_S": "1",
    "INGEST_PROBE_INTERVAL_S": "1",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """How many records are sent, and how many processes killed."""

    events: int = 200_000
    profiles: int = 20_000
    worker_kills: int = 100
    beat_kills: int = 10
    redis_kills: int = 5
    workers: int = 4
    seed: int = 0


@dataclass(slots=True)
class ProducerCounts:
    """The combined records of the web apps."""

    accepted: set[str] = field(default_factory=set)
    unsure: set[str] = field(default_factory=set)
    refusals: Counter[str] = field(default_factory=Counter)


class Scene:
    """A context manager that runs the whole system."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan = plan
        self.folder = folder
        self.rng = random.Random(plan.seed)
        self.ledger = Ledger()
        self.redis = EmbeddedRedis(folder / "redis", appendfsync="always")
        self.vendor = HostileVendor(self.ledger, plan.seed)
        self.workers: list[SupervisedProcess] = []
        self.beats: list[SupervisedProcess] = []
        self.apps: list[subprocess.Popen[str]] = []
        self.samples = self.wrong_samples = self.resumed = 0
        self._done = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        self.redis.start()
        with operator_client(self.redis.url) as client:
            self.redis_version = f"Redis {client.info('server')['redis_version']}"
        variables = {
            "REDIS_URL": self.redis.url,
            "CLEVERTAP_ACCOUNT_ID": "CHAOS",
            "CLEVERTAP_PASSCODE": "chaos",
            "CLEVERTAP_BASE_URL": self.vendor.base_url,
            "INGEST_DESTINATIONS": str(self._destinations()),
            "PYTHONPATH": str(ROOT / "tests"),
            **TIMES,
        }
        self.env = environment(variables)
        self.destination = Settings.from_env(variables).destination("clevertap")
        self.workers = [
            self._keep("worker", at, "-n", f"w{at}@chaos") for at in range(self.plan.workers)
        ]
        self.beats = [
            self._keep(
                "beat",
                at,
                "-s",
                str(self.folder / f"schedule-{at}"),
                f"--pidfile={self.folder}/beat-{at}.pid",
            )
            for at in range(BEATS)
        ]
        self.apps = [self._web_app(at) for at in range(WEB_APPS)]
        self._sampler.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for kept in (*self.workers, *self.beats):
            kept.end()
        for app in self.apps:
            app.kill()
            app.wait()
            if app.stdin:
                app.stdin.close()
        self.vendor.close()
        if self._sampler.is_alive():
            self._sampler.join(60)
        self.redis.kill()

    def _destinations(self) -> Path:
        """Return the shipped file with smaller batches, so that there are more requests to kill."""
        shipped = (ROOT / "config" / "destinations.toml").read_text()
        changed = shipped.replace("batch_records = 1000", "batch_records = 200")
        path = self.folder / "destinations.toml"
        path.write_text(changed)
        return path

    def _keep(self, line: str, at: int, *options: str) -> SupervisedProcess:
        command = [*procfile()[line], *options]
        return SupervisedProcess(f"{line}-{at}", command, self.env, self.folder)

    def _web_app(self, at: int) -> subprocess.Popen[str]:
        share = [str(_share(total, at)) for total in (self.plan.events, self.plan.profiles)]
        seed, account = str(self.plan.seed + at), str(self._account(at))
        return subprocess.Popen(
            [sys.executable, "-m", "chaos.producer", str(at), seed, *share, account],
            env=self.env,
            stdin=subprocess.PIPE,
            text=True,
        )

    def _account(self, at: int) -> Path:
        return self.folder / f"account-{at}.json"

    def allow(self, records: int) -> None:
        """Let the web apps together send this many more records."""
        for at, app in enumerate(self.apps):
            assert app.stdin is not None
            app.stdin.write(f"{_share(records, at)}\n")
            app.stdin.flush()

    def finish_producers(self, deadline_s: float) -> ProducerCounts:
        """Let the web apps send the rest and end; return their records."""
        producers = ProducerCounts()
        for app in self.apps:
            assert app.stdin is not None
            app.stdin.close()
        for at, app in enumerate(self.apps):
            if app.wait(deadline_s) != 0:
                raise AssertionError("a web app failed")
            account = json.loads(self._account(at).read_text())
            producers.accepted.update(account["accepted"])
            producers.unsure.update(account["unsure"])
            producers.refusals.update(account["refusals"])
        return producers

    def status(self) -> DestinationStatus:
        """Return where the records are, waiting while Redis is down."""
        with worker_client(self.redis.url) as client:
            return Buffer(client, self.destination).status()

    def drained(self) -> bool:
        """Return whether everything is settled, resuming after a flood pause like an operator."""
        with operator_client(self.redis.url) as client:
            buffer = Buffer(client, self.destination)
            status = buffer.status()
            if status.state == "paused":
                self.resumed += buffer.resume()
            return not any(places.open for places in status.kinds.values())

    def kill_redis(self) -> None:
        """Kill Redis like a crash, and restart it after a moment."""
        self.redis.kill()
        self._done.wait(self.rng.uniform(0.1, 1.5))
        self.redis.start()

    def kill_worker(self) -> None:
        """Kill a ready worker with SIGKILL, if possible with requests in flight."""
        victim = self.rng.choice(self.workers)
        poll_until(lambda: victim.says(" ready."), 60, f"{victim.name} is ready")
        self._done.wait(self.rng.uniform(0, 1.0))
        victim.kill()

    def kill_beat(self) -> None:
        """Kill a beat with SIGKILL."""
        self.rng.choice(self.beats).kill()

    def stop(self) -> list[int]:
        """Stop workers and beats like a deployment; return the workers' exit codes."""
        for beat in self.beats:
            beat.stop(STOP_WITHIN_S)
        return [worker.stop(STOP_WITHIN_S) for worker in self.workers]

    def _sample(self) -> None:
        while not self._done.wait(SAMPLE_EVERY_S):
            try:
                status = self.status()
            except RedisError:
                continue  # down for longer than a client waits: the next sample will show
            self.samples += 1
            self.wrong_samples += not all(places.adds_up for places in status.kinds.values())

    def clear(self) -> None:
        """Remove the logs and Redis' files after a success."""
        shutil.rmtree(self.folder)


def _share(total: int, at: int) -> int:
    return total * (at + 1) // WEB_APPS - total * at // WEB_APPS
