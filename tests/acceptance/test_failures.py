"""Failures from outside: real processes, and vendors that reject, hang, or are busy."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from support.fault_scripts import silence, status
from support.pipeline import identities
from support.polling import poll_until
from support.processes import Process, Processes
from support.vendor import PASSCODE, LoopbackVendor, usual
from worker import Producer
from worker.buffer.buffer import Buffer
from worker.buffer.status import DestinationStatus
from worker.connections.clients import operator_client
from worker.settings.settings import Settings

DESTINATION = """
[destinations.{name}]
vendor = "clevertap"
account_id = "{name}"
passcode = "${{CLEVERTAP_PASSCODE}}"
base_url = "{base_url}"
max_wait_s = 0.2
request_timeout_s = 300
lease_s = 400
[destinations.{name}.kinds.event]
batch_records = {batch_records}
"""


class System:
    """Destinations with one vendor each, and the processes that deliver to them."""

    def __init__(self, redis_url: str, processes: Processes, folder: Path) -> None:
        self.redis_url = redis_url
        self.processes = processes
        self.file = folder / "destinations.toml"
        self.vendors: dict[str, LoopbackVendor] = {}

    def add(self, name: str, batch_records: int = 1000) -> LoopbackVendor:
        """Add a destination, before anything is started."""
        vendor = self.vendors[name] = LoopbackVendor()
        with self.file.open("a") as file:
            base_url = vendor.base_url
            file.write(
                DESTINATION.format(name=name, base_url=base_url, batch_records=batch_records)
            )
        return vendor

    @property
    def env(self) -> Mapping[str, str]:
        """Return the environment of all our processes."""
        return {
            "REDIS_URL": self.redis_url,
            "INGEST_DESTINATIONS": str(self.file),
            "CLEVERTAP_PASSCODE": PASSCODE,
        }

    def start(self, workers: int = 1) -> list[Process]:
        """Start a beat and this many workers; return the workers once they are ready."""
        pidfile = f"--schedule={self.processes.folder / 'beat'}"
        self.processes.start("beat", pidfile, "--pidfile=", env=self.env)
        started = [
            self.processes.start("worker", "-n", f"w{at}@test", env=self.env)
            for at in range(workers)
        ]
        for worker in started:
            worker.wait_for("ready")
        return started

    def send(self, destination: str, names: list[str]) -> None:
        """Accept an event of each identity."""
        records = [
            {"identity": name, "type": "event", "evtName": "Viewed", "evtData": {}}
            for name in names
        ]
        Producer.from_env(self.env).send_many(records, destination=destination)

    def status(self, destination: str) -> DestinationStatus:
        """Return where the records are, asserting that they add up."""
        settings = Settings.from_env(self.env).destination(destination)
        with operator_client(self.redis_url) as client:
            found = Buffer(client, settings).status()
        assert all(places.adds_up for places in found.kinds.values()), found
        return found

    def delivered(self, destination: str) -> int:
        """Return the number of delivered events."""
        return self.status(destination).kinds["event"].totals["delivered"]


@pytest.fixture
def system(redis_url: str, processes: Processes, tmp_path: Path) -> Iterator[System]:
    """A system without destinations; the test adds them."""
    made = System(redis_url, processes, tmp_path)
    yield made
    for vendor in made.vendors.values():
        vendor.close()


def test_failing_destinations_do_not_delay_others(system: System) -> None:
    """With one vendor hanging, one denying and one down, the fourth gets everything immediately."""
    system.add("silent").usual = silence
    system.add("denied").usual = status(401)
    system.add("down").refuse()
    well = system.add("well")
    for name in system.vendors:
        system.send(name, identities(5000))
    worker = system.start()[0]
    # All this within a fifth of the time after which the hanging one times out.
    poll_until(lambda: system.delivered("well") == 5000, what="the one that is well is served")
    assert well.taken == dict.fromkeys(identities(5000), 1)

    # While the others keep failing, new records are not delayed either.
    poll_until(lambda: system.status("denied").state == "parked", what="the denied one is parked")
    system.send("well", ["late"])
    poll_until(lambda: well.taken["late"], what="a new record is served")
    for name in ("silent", "denied", "down"):
        assert system.status(name).kinds["event"].open == 5000
    assert PASSCODE not in worker.output()


def test_parked_destination_resumes_after_a_successful_probe(system: System) -> None:
    """When denied, it stops, says what to do and uses up no attempts; after a successful probe all
    records are delivered."""
    vendor = system.add("main")
    vendor.usual = status(401, "Account ID is not valid")
    with system.file.open("r+") as file:
        text = file.read().replace("max_wait_s", "probe_interval_s = 1\nmax_wait_s")
        file.seek(0)
        file.write(text)
    system.send("main", identities(3500))
    worker = system.start()[0]
    poll_until(lambda: system.status("main").state == "parked", what="it is parked")
    reason = system.status("main").reason or ""
    assert reason.startswith("401: Account ID is not valid; check its credentials")
    worker.wait_for("destination parked: check its credentials and address")

    def dry_runs() -> int:
        return sum(each.dry_run for each in list(vendor.requests))

    poll_until(lambda: dry_runs() >= 2, what="probes ask again and again")
    places = system.status("main").kinds["event"]
    assert (places.open, places.dead, sum(vendor.taken.values())) == (3500, 0, 0)
    uploads = len(vendor.uploads)
    assert uploads <= system.status("main").concurrency

    vendor.usual = usual
    poll_until(lambda: system.delivered("main") == 3500, what="all is delivered")
    assert vendor.taken == dict.fromkeys(identities(3500), 1)
    assert system.status("main").state == "running"
    worker.wait_for("destination taken up again: a probe passed")
    assert PASSCODE not in worker.output()


def test_two_workers_share_an_accounts_concurrency(system: System) -> None:
    """Two processes together find a vendor's limit, use it, and are rarely rejected."""
    vendor = system.add("main", batch_records=10)
    vendor.limit, vendor.latency_s = 6, 0.25  # long compared with the delays of a busy machine
    names = identities(4000)
    system.send("main", names)
    system.start(workers=2)
    poll_until(lambda: system.status("main").concurrency >= 6, what="the limit is found")
    warm = len(vendor.requests)
    began_s = time.monotonic()
    poll_until(lambda: system.delivered("main") == 4000, what="all is delivered", every_s=0.2)
    took_s = time.monotonic() - began_s
    seen = [each.status for each in vendor.requests[warm:]]
    used = seen.count(200) * vendor.latency_s / (vendor.limit * took_s)
    print(f"used {used:.3f}, refused {seen.count(429)}/{len(seen)}")  # noqa: T201
    assert used >= 0.6
    assert seen.count(429) <= 0.01 * len(seen) + 3
    assert vendor.taken == dict.fromkeys(names, 1)
