"""The whole system on a Redis Cluster: real nodes, real processes, a vendor on loopback."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.crc import key_slot

from support.commands import Cli
from support.environment import environment
from support.gateway import LocalGateway, request_app
from support.gateway import event as uploaded_event
from support.polling import poll_until
from support.processes import Processes
from support.redis_groups import Group, RedisCluster
from support.vendor import PASSCODE, LoopbackVendor
from worker import AsyncProducer, Producer
from worker.buffer import keys
from worker.buffer.buffer import Buffer
from worker.buffer.status import DestinationStatus
from worker.connections.clients import worker_client
from worker.connections.embedded.processes import RedisBinary, redis_binaries
from worker.connections.embedded.server import EmbeddedRedis
from worker.errors import BufferUnavailable
from worker.gateway.auth.api_keys import KeyTable
from worker.settings.settings import Settings

DESTINATIONS = [f"shop-{number}" for number in range(6)]


@pytest.fixture
def destinations_file(tmp_path: Path, vendor: LoopbackVendor) -> Path:
    """Six accounts at one vendor."""
    path = tmp_path / "destinations.toml"
    path.write_text(
        "".join(
            f'[destinations.{name}]\nvendor = "clevertap"\nbase_url = "{vendor.base_url}"\n'
            'account_id = "${CLEVERTAP_ACCOUNT_ID}"\npasscode = "${CLEVERTAP_PASSCODE}"\n'
            "max_wait_s = 0.5\nlease_s = 40\nrequest_timeout_s = 30\n"
            f"[destinations.{name}.kinds]\n"
            "event = { batch_records = 1000 }\nprofile = { batch_records = 100, partitions = 8 }\n"
            for name in DESTINATIONS
        )
    )
    return path


@pytest.fixture
def broker(redis_server: EmbeddedRedis, redis_client: redis.Redis) -> str:
    """A separate Redis for Celery's messages."""
    return redis_server.url


def env_of(cluster: RedisCluster, destinations: Path, broker: str) -> dict[str, str]:
    """The environment of all our processes."""
    return {
        "REDIS_URL": cluster.url,
        "CELERY_BROKER_URL": broker,
        "CLEVERTAP_ACCOUNT_ID": "ACCOUNT-1",
        "CLEVERTAP_PASSCODE": PASSCODE,
        "INGEST_DESTINATIONS": str(destinations),
    }


@pytest.fixture
def env(redis_cluster: RedisCluster, destinations_file: Path, broker: str) -> dict[str, str]:
    """The environment on the cluster that all tests share."""
    return env_of(redis_cluster, destinations_file, broker)


def slot_of(destination: str) -> int:
    """The slot of a destination's keys."""
    return int(key_slot(keys.base(destination).encode()))


def event(name: str) -> dict[str, object]:
    """An event of one identity."""
    return {"identity": name, "type": "event", "evtName": "Viewed", "evtData": {"n": 1}}


def profile(name: str) -> dict[str, object]:
    """A profile update of one identity."""
    return {"identity": name, "type": "profile", "profileData": {"Name": "n"}}


def start(processes: Processes, env: dict[str, str]) -> None:
    """A worker and a beat."""
    worker = processes.start("worker", "-n", "one@test", env=env)
    processes.start("beat", "-s", str(processes.folder / "beat"), "--pidfile=", env=env)
    worker.wait_for("ready")


def statuses(env: dict[str, str], client: redis.Redis) -> Iterator[DestinationStatus]:
    """Return where each destination's records are, asserting that they add up."""
    for each in Settings.from_env(env).enabled():
        status = Buffer(client, each).status()
        assert all(places.adds_up for places in status.kinds.values())
        yield status


def test_cluster_spreads_destinations_and_delivers_each_record_once(
    redis_cluster: RedisCluster, env: dict[str, str], vendor: LoopbackVendor, processes: Processes
) -> None:
    """Producers, worker, beat and the commands work on a Cluster with destinations on each node."""
    with redis_cluster.client() as client:
        owners = {redis_cluster.owner(slot_of(name)).port for name in DESTINATIONS}
        assert owners == {node.port for node in redis_cluster.masters}
        start(processes, env)
        producer = Producer.from_env(env)
        sent = set()
        for name in DESTINATIONS:
            records = [event(f"{name}-e{n}") for n in range(1500)]
            records += [profile(f"{name}-p{n}") for n in range(150)]
            assert producer.send_many(records, destination=name).accepted == len(records)
            sent |= {str(record["identity"]) for record in records}
        asyncio.run(single_events(env))
        sent |= {f"{name}-async" for name in DESTINATIONS}
        for name in producer.to(*DESTINATIONS).event("Viewed", identity="to-all"):
            assert name in DESTINATIONS
        producer.close()
        cli = Cli(env)
        waited = cli("wait", "--timeout", "60")
        assert waited.returncode == 0, waited.stderr
        assert {name: n for name, n in vendor.taken.items() if n != 1} == {
            "to-all": len(DESTINATIONS)
        }
        assert set(vendor.taken) == sent | {"to-all"}
        delivered = [
            places.totals["delivered"]
            for status in statuses(env, client)
            for places in status.kinds.values()
        ]
        assert sum(delivered) == len(sent) + len(DESTINATIONS)
        assert set(cli.status(DESTINATIONS[0])["kinds"]) == {"event", "profile"}


async def single_events(env: dict[str, str]) -> None:
    """Send one event to each destination with AsyncProducer."""
    producer = AsyncProducer.from_env(env)
    for name in DESTINATIONS:
        await producer.event("Viewed", {"n": 1}, identity=f"{name}-async", destination=name)
    await producer.close()


@pytest.mark.parametrize("binary", redis_binaries(), ids=str)
def test_cluster_moving_a_slot_stops_its_destination_without_loss(
    binary: RedisBinary, destinations_file: Path, processes: Processes
) -> None:
    """While a slot's keys are in two places nothing is accepted or changed; then all continues."""
    cluster = RedisCluster(Group(processes, binary))
    env = env_of(cluster, destinations_file, "")
    name, slot = DESTINATIONS[0], slot_of(DESTINATIONS[0])
    producer = Producer.from_env(env)
    for number in range(3):
        producer.event("Viewed", identity=f"before-{number}", destination=name)
    old = cluster.owner(slot)
    new = next(node for node in cluster.masters if node is not old)
    new.call("CLUSTER SETSLOT", slot, "IMPORTING", cluster.id_of(old))
    old.call("CLUSTER SETSLOT", slot, "MIGRATING", cluster.id_of(new))
    found = old.call("CLUSTER GETKEYSINSLOT", slot, 100)
    assert len(found) >= 3

    def move(moved: list[bytes]) -> None:
        for key in moved:
            old.call("MIGRATE", "127.0.0.1", new.port, key, 0, 5000)

    move(found[:1])
    with pytest.raises(BufferUnavailable) as refused:
        producer.event("Viewed", identity="meanwhile", destination=name)
    assert not refused.value.sent
    with worker_client(cluster.url) as client:
        buffer = Buffer(client, Settings.from_env(env).destination(name))
        statuses: list[DestinationStatus] = []
        asking = threading.Thread(target=lambda: statuses.append(buffer.status()))
        asking.start()
        move(found[1:])
        for node in cluster.masters:
            node.call("CLUSTER SETSLOT", slot, "NODE", cluster.id_of(new))
        asking.join(30)
        assert statuses[0].kinds["event"].totals["accepted"] == 3
        producer.event("Viewed", identity="after", destination=name)
        places = buffer.status().kinds["event"]
        assert (places.buffered, places.totals["accepted"]) == (4, 4)
        assert places.adds_up
    assert old.call("CLUSTER COUNTKEYSINSLOT", slot) == 0


def test_cluster_after_a_masters_death_worker_continues(
    redis_group: Group,
    destinations_file: Path,
    broker: str,
    vendor: LoopbackVendor,
    processes: Processes,
) -> None:
    """Other nodes' destinations are not affected; those of the dead master move to its replica."""
    cluster = RedisCluster(redis_group, replicas=True)
    env = env_of(cluster, destinations_file, broker)
    start(processes, env)
    producer = Producer.from_env(env)
    victim = cluster.owner(slot_of(DESTINATIONS[0]))
    others = [name for name in DESTINATIONS if cluster.owner(slot_of(name)) is not victim]
    for name in DESTINATIONS:
        producer.event("Viewed", identity=f"{name}-before", destination=name)
    poll_until(lambda: len(vendor.taken) == len(DESTINATIONS), what="the system is warm")
    # Acknowledged records reach the replica a moment later: that moment is what can be lost.
    victim.client.wait(1, 5000)
    victim.process.kill()
    for name in others:
        producer.event("Viewed", identity=f"{name}-during", destination=name)
    taken_again = time.monotonic() + 120
    refused = []
    while True:
        try:
            producer.event("Viewed", identity="during", destination=DESTINATIONS[0])
            break
        except BufferUnavailable as error:
            refused.append(error)
            assert time.monotonic() < taken_again, "the replica never took over"
    assert refused
    expected = {f"{name}-during" for name in others} | {"during"}
    poll_until(lambda: expected <= set(vendor.taken), what="all is delivered")
    with worker_client(cluster.url) as client:
        settled = [status.kinds["event"] for status in statuses(env, client)]
    assert sum(places.totals["accepted"] for places in settled) >= len(DESTINATIONS) + len(expected)
    assert all(places.dead == 0 for places in settled)


def test_producer_without_a_cluster_fails_at_the_first_record(
    destinations_file: Path, free_port: int
) -> None:
    """Creating a producer does not connect; the error then says that nothing was sent."""
    env = {
        "REDIS_URL": f"redis+cluster://127.0.0.1:{free_port}",
        "INGEST_DESTINATIONS": str(destinations_file),
    }
    with pytest.raises(BufferUnavailable) as refused:
        Producer.from_env(env).event("Viewed", identity="1", destination=DESTINATIONS[0])
    assert not refused.value.sent
    with pytest.raises(BufferUnavailable) as refused:
        asyncio.run(single_events(env))
    assert not refused.value.sent


def test_worker_with_a_cluster_as_broker_exits_with_a_message(
    destinations_file: Path, processes: Processes
) -> None:
    """Without CELERY_BROKER_URL a worker on a Cluster says what to set, and exits."""
    env = {
        "REDIS_URL": "redis+cluster://127.0.0.1:1",
        "INGEST_DESTINATIONS": str(destinations_file),
    }
    worker = processes.start("worker", env=environment(env))
    assert worker.popen.wait(60) != 0
    assert "CELERY_BROKER_URL: Celery cannot use a Redis Cluster" in worker.output()


def test_commands_and_gateway_work_on_a_cluster(
    redis_cluster: RedisCluster, env: dict[str, str], vendor: LoopbackVendor, processes: Processes
) -> None:
    """Dead letters are listed, traced and replayed; the gateway accepts records and is ready."""
    start(processes, env)
    name, cli = DESTINATIONS[1], Cli(env)
    vendor.prescribe("refused", 513)
    record_id = Producer.from_env(env).event("Viewed", identity="refused", destination=name)
    poll_until(lambda: cli.status(name)["kinds"]["event"]["dead"] == 1, what="it died")
    for command in (("dlq", "summary"), ("dlq", "list"), ("trace", record_id), ("metrics",)):
        done = cli(*command)
        assert done.returncode == 0, (command, done.stderr)
    assert "513" in cli("dlq", "summary").stdout
    assert json.loads(cli("dlq", "replay", "--yes").stdout) == {"replayed": 1}
    poll_until(lambda: vendor.taken["refused"], what="it is delivered")
    assert cli("pause", name).returncode == 0
    assert cli.status(name)["state"] == "paused"
    assert cli("resume", name).returncode == 0
    with redis_cluster.client() as client:
        key = KeyTable(client).create("shop")
        others = {name: value for name, value in env.items() if name != "REDIS_URL"}
        gateway = LocalGateway(redis_cluster.url, key, client, **others)
        gateway.run(gateway_works)
    poll_until(lambda: vendor.taken["by-gateway"], what="the gateway's record is delivered")


async def gateway_works(gateway: LocalGateway) -> None:
    """Readiness, and an upload."""
    ready = await request_app(gateway.app, "GET", "/readyz")
    assert ready.status == 200, ready.body
    uploaded = await gateway.upload(
        uploaded_event("by-gateway"), **{"X-CleverTap-Account-Id": DESTINATIONS[2]}
    )
    assert uploaded.status == 200, uploaded.body
    assert uploaded.json()["processed"] == 1
