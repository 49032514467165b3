"""Accepted records, and callers, while Redis is in trouble."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from support.polling import poll_until
from support.processes import Processes
from support.proxy import Proxy
from support.redis_servers import RedisFactory
from worker import BufferFull, BufferUnavailable, Producer
from worker.buffer import keys
from worker.buffer.buffer import Buffer
from worker.buffer.claims import Claim, Feedback, Settle, Split
from worker.buffer.scripts import script
from worker.connections.clients import operator_client, worker_client
from worker.connections.embedded.processes import RedisBinary, redis_binaries
from worker.connections.embedded.server import EmbeddedRedis
from worker.settings.destination import Destination, KindSettings
from worker.vendors.clevertap.account import CleverTapAccount
from worker.vendors.protocol import DELIVERED, Outcome, Verdict

SETTINGS = Destination(
    name="clevertap",
    account=CleverTapAccount(),
    kinds={"event": KindSettings(10), "profile": KindSettings(10, partitions=4)},
    max_wait_s=0.0,
    lease_s=31.0,
    concurrency=15,
    flood_share=1.0,
)
AGAIN = Verdict(Outcome.RETRY, "server_error", 555, "again")
DEAD = Verdict(Outcome.DEAD, "refused", 513, "no")


@pytest.fixture(params=redis_binaries(), ids=str)
def server(request: pytest.FixtureRequest, redis_factory: RedisFactory) -> EmbeddedRedis:
    """A Redis of the test's own, of each version on this machine, that writes at once."""
    binary: RedisBinary = request.param
    return redis_factory(appendfsync="always", binary=binary)


@pytest.fixture
def producer(server: EmbeddedRedis) -> Iterator[Producer]:
    """A producer for that server."""
    producer = Producer.from_env({"REDIS_URL": server.url})
    yield producer
    producer.close()


@pytest.fixture
def buffer(server: EmbeddedRedis) -> Iterator[Buffer]:
    """A worker's hands on the records in that server."""
    with worker_client(server.url) as client:
        yield Buffer(client, SETTINGS)


def send(producer: Producer, events: int, profiles: int = 0) -> int:
    """Send this many of each; return their sum."""
    for number in range(events):
        producer.event("Burned", identity=f"{number}")
    for number in range(profiles):
        producer.profile({"Number": number}, identity=f"{number}")
    return events + profiles


def claimed(buffer: Buffer) -> Claim:
    """A batch that is there to be claimed."""
    return poll_until(lambda: buffer.claim(begun=True), what="a batch")  # type: ignore[return-value]


def settle_all(buffer: Buffer) -> int:
    """Settle whatever is open as delivered; returns the number of records."""
    delivered = 0
    while (claim := buffer.claim(begun=True)) is not None:
        settled = buffer.finish(claim, Settle(DELIVERED), "200").settled
        assert settled is not None
        delivered += settled.delivered
    return delivered


def adds_up(buffer: Buffer) -> bool:
    """Whether every accepted record is in one place."""
    return all(places.adds_up for places in buffer.status().kinds.values())


@contextmanager
def soon(action: Callable[[], object], after_s: float = 1.0) -> Iterator[None]:
    """Do something after a moment, while the block runs, which must not end before.

    The block may end while the action still returns: a Redis that was started answers the one who
    waits for it as soon as the one who started it.
    """
    begun = threading.Event()

    def act() -> None:
        begun.set()
        action()

    timer = threading.Timer(after_s, act)
    timer.start()
    try:
        yield
        assert begun.is_set(), "no call had to wait"
    finally:
        timer.join()


def test_killed_redis_keeps_accepted_records(
    server: EmbeddedRedis, producer: Producer, buffer: Buffer
) -> None:
    """Killed between two calls and started again, Redis holds every record in its place."""
    sent = send(producer, 25, 25)
    claim, other = claimed(buffer), claimed(buffer)
    assert buffer.finish(other, Settle(DELIVERED), "200").settled
    server.kill()
    server.start()
    assert adds_up(buffer)
    assert buffer.finish(claim, Settle(DELIVERED), "200").settled
    assert settle_all(buffer) + claim.size + other.size == sent
    assert adds_up(buffer)


def test_settle_during_a_restart_settles_once(
    server: EmbeddedRedis, producer: Producer, buffer: Buffer
) -> None:
    """A settlement during a restart of Redis waits for it, and is carried out once."""
    send(producer, 10)
    claim = claimed(buffer)
    server.stop()
    with soon(server.start):
        settled = buffer.finish(claim, Settle(DELIVERED), "200").settled
    assert settled is not None
    assert settled.delivered == 10
    assert buffer.status().kinds["event"].totals["delivered"] == 10


TAKEN = Settle(DELIVERED)
LEARNED = Feedback("success", 0.0)


@pytest.mark.parametrize("known", [(), ("adapt",), ("settle", "claim")])
def test_settle_and_claim_loads_scripts_that_redis_does_not_know(
    server: EmbeddedRedis, producer: Producer, buffer: Buffer, known: Sequence[str]
) -> None:
    """Whichever of the three it has forgotten: each runs once, and the next batch is whole."""
    sent = send(producer, 10, 10)
    claim = claimed(buffer)
    with operator_client(server.url) as client:
        client.script_flush()
        for name in known:
            client.script_load(script(name).text)
    done = buffer.finish(claim, TAKEN, "200", 0.1, feedback=LEARNED, claim_next=True)
    assert done.settled is not None
    assert done.settled.delivered == claim.size
    assert done.following is not None
    assert done.following.size == len(done.following.records) == sent - claim.size
    last = buffer.finish(done.following, TAKEN, "200", 0.1, feedback=LEARNED, claim_next=True)
    assert last.settled is not None
    assert last.following is None
    assert adds_up(buffer)
    assert buffer.status().answers == {"200": 2}


def test_settle_and_claim_during_a_restart_keeps_every_record(
    server: EmbeddedRedis, producer: Producer, buffer: Buffer
) -> None:
    """All three wait for a Redis that is away, and every record is in one place after it."""
    sent = send(producer, 10, 10)
    claim = claimed(buffer)
    server.stop()
    with soon(server.start):
        done = buffer.finish(claim, TAKEN, "200", 0.1, feedback=LEARNED, claim_next=True)
    assert done.settled is not None
    assert done.following is not None
    assert done.settled.delivered + len(done.following.records) == sent
    assert adds_up(buffer)


def test_settle_and_claim_after_lease_expiry_settles_nothing(
    producer: Producer, buffer: Buffer
) -> None:
    """Another worker settled it: nothing moves twice, and the next batch is claimed."""
    sent = send(producer, 10, 10)
    claim = claimed(buffer)
    assert buffer.finish(claim, TAKEN, "200").settled
    done = buffer.finish(claim, TAKEN, "200", 0.1, feedback=LEARNED, claim_next=True)
    assert done.settled is None
    assert done.following is not None
    assert done.following.size == sent - claim.size
    assert adds_up(buffer)


def as_replica(client: redis.Redis) -> Callable[[], object]:
    """Make Redis refuse writes, as after a fail-over; returns what ends it."""
    client.replicaof("127.0.0.1", 1)
    return lambda: client.replicaof("NO", "ONE")


def unable_to_persist(client: redis.Redis) -> Callable[[], object]:
    """Make Redis refuse writes because it cannot write a snapshot; returns what ends it."""
    folder = Path(str(client.config_get("dir")["dir"]), "dump.rdb")
    folder.mkdir()  # where the snapshot's file is to go
    client.config_set("save", "3600 1000000")
    client.bgsave()
    poll_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")
    return lambda: client.config_set("save", "")


def without_replicas(client: redis.Redis) -> Callable[[], object]:
    """Make Redis refuse writes because too few replicas follow it; returns what ends it."""
    client.config_set("min-replicas-to-write", 1)
    return lambda: client.config_set("min-replicas-to-write", 0)


@pytest.mark.parametrize("trouble", [as_replica, unable_to_persist, without_replicas])
def test_redis_that_refuses_writes_is_waited_for(
    trouble: Callable[[redis.Redis], Callable[[], object]],
    server: EmbeddedRedis,
    producer: Producer,
    buffer: Buffer,
) -> None:
    """The producer raises that nothing was accepted; the worker's settlement waits, and counts."""
    send(producer, 10)
    claim = claimed(buffer)
    with operator_client(server.url) as client:
        end = trouble(client)
        with pytest.raises(BufferUnavailable) as refused:
            producer.event("Burned", identity="late")
        assert not refused.value.sent
        with soon(end):
            settled = buffer.finish(claim, Settle(DELIVERED), "200").settled
    assert settled is not None
    places = buffer.status().kinds["event"]
    assert (places.totals["accepted"], places.totals["delivered"]) == (10, 10)


def test_full_redis_refuses_the_producer_and_drains(
    server: EmbeddedRedis, producer: Producer, buffer: Buffer
) -> None:
    """With no byte to spare every step of a batch's life still works, and nothing is lost."""
    sent = send(producer, 40, 40)
    refused, buried, split, taken_back = (claimed(buffer) for _ in range(4))
    with operator_client(server.url) as client:
        client.config_set("maxmemory", 1)
        with pytest.raises(BufferFull):
            producer.event("Burned", identity="late")
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            client.set("more", 1)
        assert buffer.tick()[0]
        assert buffer.finish(refused, Settle(AGAIN), "200").settled
        assert buffer.finish(buried, Settle(DELIVERED, [(1, DEAD), (3, AGAIN)]), "200").settled
        halve = Split("400: no", lower_bytes=True)
        assert buffer.finish(split, halve, "400", feedback=Feedback("failure", 0.0)).settled
        assert buffer.pause("a person's word")
        assert buffer.resume()
        learned = Feedback("success", 0.0)
        assert buffer.finish(taken_back, Settle(AGAIN), "200", feedback=learned).settled
        begun = buffer.claim(begun=False)
        assert begun is not None
        assert buffer.recover(unbegun=True).unbegun == 1
        again = buffer.claim(begun=False)
        assert again is not None
        started = buffer.begin(again.batch, again.token)
        assert started is not None
        assert buffer.finish(started, Settle(DELIVERED), "200").settled
        delivered = settle_all(buffer)
        assert adds_up(buffer)
        places = buffer.status().kinds.values()
        assert delivered > 0
        assert sum(each.totals["delivered"] for each in places) == sent - 1
        assert sum(each.dead for each in places) == 1
        client.config_set("maxmemory", "1gb")
    assert not buffer.tick()[0]
    producer.event("Burned", identity="late")


def test_producers_check_the_memory_without_a_worker(
    server: EmbeddedRedis, producer: Producer, buffer: Buffer
) -> None:
    """Without recent ticks a nearly full Redis refuses; with them, the last tick decides."""
    state = keys.state("clevertap")
    with operator_client(server.url) as client:
        send(producer, 1)
        client.setrange("ballast", 20_000_000, b"x")  # no buffer of a connection holds it
        client.config_set("maxmemory", int(client.info("memory")["used_memory"] * 1.05))
        assert client.hget(state, "memory_full") == b"0"  # what was just seen holds for a moment
        client.hset(state, "memory_seen_until", 0)
        with pytest.raises(BufferFull):
            producer.event("Burned", identity="unwatched")
        assert buffer.memory_used() > 0.9
        assert buffer.tick()[0]
        client.config_set("maxmemory", "1gb")
        with pytest.raises(BufferFull):
            producer.event("Burned", identity="refused as the last tick said")
        client.hincrby(state, "memory_seen_until", -10_000)
        send(producer, 1)
        assert buffer.memory_used() < 0.1
        client.config_set("maxmemory", 0)
        assert buffer.memory_used() == 0


def test_repartition_in_a_full_redis_succeeds(server: EmbeddedRedis, buffer: Buffer) -> None:
    """What a worker does first needs no memory; otherwise it could not start and make room."""
    with operator_client(server.url) as client:
        client.config_set("maxmemory", 1)
        buffer.repartition()
        assert client.lrange("ingest:{clevertap}:layout:profile", 0, -1) == [b"0:4"]


def test_redis_that_loads_is_waited_for(
    server: EmbeddedRedis, producer: Producer, buffer: Buffer, processes: Processes
) -> None:
    """While Redis loads, a producer raises that nothing was accepted, and a worker waits."""
    binary = server.binary
    assert binary is not None
    if binary.version < (7, 0, 0):
        pytest.skip("before Redis 7 nothing makes it answer while it loads a small file")
    send(producer, 10)
    claim = claimed(buffer)
    with operator_client(server.url) as client:
        for number in range(300):
            client.set(f"filler:{number}", os.urandom(2048))
        client.bgrewriteaof()
        poll_until(lambda: not client.info("persistence")["aof_rewrite_in_progress"])
        port = client.connection_pool.connection_kwargs["port"]
    server.kill()
    slowly = [str(binary.path), "--port", str(port), "--bind", "127.0.0.1", "--appendonly", "yes"]
    slowly += ["--dir", str(server.folder), "--save", "", "--key-load-delay", "100000"]
    slowly += ["--loading-process-events-interval-bytes", "1024"]
    processes.run(slowly, env={}, cwd=server.folder)
    with operator_client(server.url) as client:
        poll_until(lambda: _loads(client), what="Redis loads")
        with pytest.raises(BufferUnavailable) as refused:
            producer.event("Burned", identity="late")
        assert not refused.value.sent
        assert _loads(client)
        client.config_set("key-load-delay", 0)
    settled = buffer.finish(claim, Settle(DELIVERED), "200").settled
    assert settled is not None
    assert buffer.status().kinds["event"].totals["delivered"] == 10


def _loads(client: redis.Redis) -> bool:
    try:
        return bool(client.info("persistence")["loading"])
    except redis.RedisError:
        return False


@pytest.fixture
def proxy(server: EmbeddedRedis) -> Iterator[Proxy]:
    """A proxy before that server."""
    with Proxy(int(server.url.rpartition(":")[2].partition("/")[0])) as proxy:
        yield proxy


def test_settle_on_a_hanging_connection_counts_once(proxy: Proxy, producer: Producer) -> None:
    """Cut silently, a call times out, is repeated on a new connection, and counts once."""
    send(producer, 10)
    with worker_client(proxy.url, timeout_s=3.0) as client:
        buffer = Buffer(client, SETTINGS)
        claim = claimed(buffer)
        proxy.freeze()
        settled = buffer.finish(claim, Settle(DELIVERED), "200").settled
    assert settled is not None
    assert settled.delivered == 10


@pytest.mark.usefixtures("prompt_producers")
def test_producer_on_a_hanging_connection_raises_buffer_unavailable(proxy: Proxy) -> None:
    """A lost answer may mean that the record was taken; the next call has another connection."""
    producer = Producer.from_env({"REDIS_URL": proxy.url})
    producer.event("Burned", identity="1")
    proxy.freeze()
    with pytest.raises(BufferUnavailable) as lost:
        producer.event("Burned", identity="2")
    assert lost.value.sent
    producer.event("Burned", identity="3")
    producer.close()


def test_settlement_with_a_lost_response_counts_once(
    proxy: Proxy, producer: Producer, buffer: Buffer
) -> None:
    """Settled, the answer swallowed, and so asked for again: the second one changes nothing."""
    send(producer, 20)
    with worker_client(proxy.url) as client:
        ours = Buffer(client, SETTINGS)
        assert ours.finish(claimed(ours), Settle(DELIVERED), "200").settled
        claim = claimed(ours)
        proxy.swallow_answer_to(claim.token.encode())
        assert ours.finish(claim, Settle(DELIVERED), "200").settled is None
        assert proxy.swallowed.is_set()
    totals = buffer.status().kinds["event"].totals
    assert (totals["delivered"], totals["attempts"]) == (20, 2)
    assert adds_up(buffer)


def test_claim_repeated_after_a_lost_response_is_the_same_claim(
    proxy: Proxy, producer: Producer, buffer: Buffer
) -> None:
    """Claimed, the answer swallowed, and so asked for again: one batch is in flight, not two."""
    send(producer, 30)
    with worker_client(proxy.url) as client:
        ours = Buffer(client, SETTINGS)
        assert ours.finish(claimed(ours), Settle(DELIVERED), "200").settled
        proxy.swallow_answer_to(b"EVALSHA")
        assert ours.claim(begun=True) is not None
        assert proxy.swallowed.is_set()
    assert buffer.status().in_use == 1
    assert buffer.status().kinds["event"].in_flight == 10
