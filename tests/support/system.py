"""Worker and beat as they run in production, on short times, for tests that break them."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.environment import ROOT, environment
from support.polling import PATIENCE_S, poll_until
from support.processes import Process, Processes, hurried, procfile
from support.redis_servers import RedisFactory
from support.vendor import LoopbackVendor
from worker import Producer
from worker.buffer.buffer import Buffer
from worker.buffer.status import DestinationStatus
from worker.connections.clients import worker_client
from worker.connections.embedded.server import EmbeddedRedis
from worker.settings.settings import Settings


class System:
    """A Redis of its own that writes at once, a vendor, and whatever is started of the rest."""

    def __init__(
        self, redis: EmbeddedRedis, vendor: LoopbackVendor, processes: Processes, folder: Path
    ) -> None:
        self.redis, self.vendor = redis, vendor
        self._processes, self._folder = processes, folder
        self.variables = {
            "REDIS_URL": redis.url,
            "CLEVERTAP_ACCOUNT_ID": "ACCOUNT",
            "CLEVERTAP_PASSCODE": "passcode",
            "CLEVERTAP_BASE_URL": vendor.base_url,
            "INGEST_DRAIN_INTERVAL_S": "0.2",
            "INGEST_MAX_WAIT_S": "0.2",
            "INGEST_REQUEST_TIMEOUT_S": "5",
            "INGEST_LEASE_S": "6",
            "INGEST_BACKOFF_BASE_S": "0.05",
            "INGEST_BACKOFF_CAP_S": "0.5",
        }
        self._beats = 0

    def configure(self, changes: dict[str, str]) -> None:
        """Use the shipped destinations with these lines of it replaced."""
        text = (ROOT / "config" / "destinations.toml").read_text()
        for old, new in changes.items():
            assert old in text, old
            text = text.replace(old, new)
        path = self._folder / "destinations.toml"
        path.write_text(text)
        self.variables["INGEST_DESTINATIONS"] = str(path)

    def command(self, line: str) -> list[str]:
        """A line of the Procfile, with what lets several of it run here."""
        self._beats += 1
        command = hurried(procfile()[line])
        if line == "worker":
            return [*command, "-n", f"w{self._beats}@test"]
        return [*command, "-s", f"{self._folder}/schedule-{self._beats}", "--pidfile="]

    def environment(self) -> dict[str, str]:
        """The environment of a process."""
        return environment({"PYTHONPATH": str(ROOT / "tests"), **self.variables})

    def start(self, line: str) -> Process:
        """Start a worker or a beat."""
        return self._processes.run(self.command(line), env=self.environment(), name=line)

    def worker(self) -> Process:
        """Start a worker, and wait until it is ready."""
        worker = self.start("worker")
        worker.wait_for(" ready.")
        return worker

    def send(self, events: int, prefix: str = "e") -> None:
        """Send this many events, each with its own identity."""
        producer = Producer.from_env(self.variables)
        records = [
            {"type": "event", "identity": f"{prefix}{at}", "evtName": "Burned", "evtData": {}}
            for at in range(events)
        ]
        assert producer.send_many(records).accepted == events
        producer.close()

    def status(self) -> DestinationStatus:
        """Where the records are; that they add up is asserted each time."""
        with worker_client(self.redis.url) as client:
            status = self._buffer(client).status()
        assert all(places.adds_up for places in status.kinds.values()), status
        return status

    def resume(self) -> None:
        """Start deliveries, as an operator does."""
        with worker_client(self.redis.url) as client:
            assert self._buffer(client).resume()

    def pause(self) -> None:
        """Stop deliveries, as an operator does."""
        with worker_client(self.redis.url) as client:
            assert self._buffer(client).pause("a test's word")

    def _buffer(self, client: object) -> Buffer:
        destination = Settings.from_env(self.variables).destination("clevertap")
        return Buffer(client, destination)  # type: ignore[arg-type] # a client of redis-py

    def total(self, name: str) -> int:
        """One total of the events."""
        return self.status().kinds["event"].totals[name]

    def delivered(self, events: int, deadline_s: float = PATIENCE_S) -> None:
        """Wait until this many events are delivered, and nothing is open."""

        def done() -> bool:
            places = self.status().kinds["event"]
            return places.totals["delivered"] == events and places.open == 0

        poll_until(done, deadline_s, f"{events} events are delivered", every_s=0.1)


@pytest.fixture
def system(
    redis_factory: RedisFactory, vendor: LoopbackVendor, processes: Processes, tmp_path: Path
) -> System:
    """A system of which nothing but Redis and the vendor runs yet."""
    return System(redis_factory(appendfsync="always"), vendor, processes, tmp_path)
