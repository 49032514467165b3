"""Worker and beat while Redis, also their broker, is down, read-only, full, or hanging."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
import redis

from chaos.supervised_process import SupervisedProcess
from support.polling import poll_until
from support.processes import Process
from support.proxy import Proxy
from support.system import System
from support.vendor import Exchange
from worker import BufferFull, Producer
from worker.connections.clients import operator_client

RECOVERED_WITHIN_S = 60.0
# Only a timeout distinguishes a hanging connection from a slow one: 10 s on ours and then 15 s on
# the broker's, more on a busy machine: half a minute or so, which is far from never.
HEARD_AGAIN_WITHIN_S = 120.0
GRACE_S = 45.0  # between SIGTERM and SIGKILL, as in the README


def still_runs(*processes: Process) -> bool:
    """Return whether all of them run, without tracebacks filling their logs."""
    return all(
        each.returncode is None and each.output().count("Traceback") <= 1 for each in processes
    )


def test_worker_and_beat_wait_for_redis_at_start(system: System) -> None:
    """Started before their Redis, worker and beat wait for it, and then deliver."""
    system.redis.stop()
    worker, beat = system.start("worker"), system.start("beat")
    worker.wait_for("Trying again")
    assert "error=ConnectionRefusedError" in beat.wait_for("could not send a tick")
    system.redis.start()
    system.send(100)
    system.delivered(100)
    assert still_runs(worker, beat)
    assert worker.output().count("\n") + beat.output().count("\n") < 200


@pytest.mark.parametrize("met", ["before", "after"])
def test_worker_on_sigterm_without_redis_exits_in_time(system: System, met: str) -> None:
    """Whether Redis was never there or is gone, a worker exits within its grace period, without
    unnecessary log lines."""
    if met == "before":
        system.redis.stop()
        worker = system.start("worker")
    else:
        worker = system.start("worker")
        worker.wait_for(" ready.")
        system.redis.stop()
    worker.wait_for("Trying again")
    before = worker.output().count("Traceback")
    assert worker.stop(deadline_s=GRACE_S) == 0
    assert worker.output().count("Traceback") == before


@contextmanager
def silent(system: System) -> Iterator[None]:
    """Redis keeps its connections but does not respond."""
    assert system.redis.pid
    os.kill(system.redis.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(system.redis.pid, signal.SIGCONT)


def test_worker_on_sigterm_with_hanging_redis_exits_in_time(system: System) -> None:
    """Redis hangs while the vendor has a batch: worker and beat exit within their grace period, no
    record is missing once Redis responds again, and the next worker delivers them all."""
    worker, beat = system.worker(), system.start("beat")
    system.send(100)
    system.delivered(100)
    met = threading.Event()

    def take_while_silent(exchange: Exchange) -> None:
        records = exchange.records()
        met.set()
        stopping.wait(60)
        exchange.wait(1.0)
        exchange.answer(200, system.vendor.take(records))

    stopping = threading.Event()
    system.vendor.script(take_while_silent)
    system.send(100, "met-")
    assert met.wait(60), "the vendor has no batch"
    with silent(system):
        worker.send(signal.SIGTERM)
        stopping.set()
        assert beat.stop(deadline_s=GRACE_S) == 0
        assert worker.popen.wait(GRACE_S) == 0
    # What it was doing when Redis hung may be logged once or twice, but not more.
    assert worker.output().count("Traceback") <= 2
    assert "shutdown deadline reached" in worker.output()
    system.send(100, "after-")

    def accepted_and_open() -> tuple[int, int]:
        places = system.status().kinds["event"]
        return places.totals["accepted"], places.open

    # The settlement was one round trip, which Redis had received and carries out now.
    poll_until(lambda: accepted_and_open() == (300, 100), what="the batch is settled")
    system.worker()
    system.delivered(300)
    assert len(system.vendor.taken) == 300
    assert set(system.vendor.taken.values()) == {1}


def kill_and_start(system: System) -> Callable[[], None]:
    """Redis crashes."""
    system.redis.kill()
    return lambda: (system.redis.start(), None)[1]


def stop_and_start(system: System) -> Callable[[], None]:
    """Redis is restarted by its operator."""
    system.redis.stop()
    return lambda: (system.redis.start(), None)[1]


def refuse_writes(system: System) -> Callable[[], None]:
    """Redis becomes a replica, as in a failover, and then the master again."""
    client = operator_client(system.redis.url)
    client.replicaof("127.0.0.1", 1)

    def end() -> None:
        client.replicaof("NO", "ONE")
        client.close()

    return end


class Pair:
    """A worker and a beat under a supervisor."""

    def __init__(self, system: System, folder: Path) -> None:
        self._system, self._folder = system, folder
        self.processes: list[SupervisedProcess] = []

    def start(self) -> None:
        """Start both, and wait until the worker is ready."""
        for line in ("worker", "beat"):
            command, env = self._system.command(line), self._system.environment()
            self.processes.append(SupervisedProcess(f"kept-{line}", command, env, self._folder))
        poll_until(lambda: self.processes[0].says(" ready."), what="the worker is ready")

    def see_trouble(self) -> None:
        """Wait until both have noticed the trouble."""
        words = ("Connection to broker lost", "consumer: Cannot connect", "read only", "ReadOnly")
        poll_until(
            lambda: any(map(self.processes[0].says, words)) or self.processes[0].endings,
            20,
            "the worker meets the trouble",
        )
        beat = self.processes[1]
        poll_until(lambda: beat.says("could not send a tick") or beat.endings, what="the beat too")

    def end(self) -> None:
        """Kill whatever is left."""
        for each in self.processes:
            each.end()


@pytest.fixture
def kept(system: System, tmp_path: Path) -> Iterator[Pair]:
    """A worker and a beat that are restarted when they end."""
    pair = Pair(system, tmp_path)
    pair.start()
    yield pair
    pair.end()


@pytest.mark.parametrize("trouble", [kill_and_start, stop_and_start, refuse_writes])
def test_deliveries_continue_after_redis_trouble(
    trouble: Callable[[System], Callable[[], None]],
    system: System,
    kept: Pair,
) -> None:
    """Worker and beat continue, or exit and are restarted; each record arrives once."""
    system.send(200, "before-")
    system.delivered(200)
    end = trouble(system)
    kept.see_trouble()
    end()
    system.send(200, "after-")
    system.delivered(400, RECOVERED_WITHIN_S)
    assert set(system.vendor.taken.values()) == {1}
    assert system.total("ambiguous") == 0


def test_full_redis_is_drained(system: System) -> None:
    """Without a free byte, not even for the broker's messages, everything is still delivered."""
    worker, beat = system.worker(), system.start("beat")
    system.send(1)
    system.delivered(1)
    system.pause()
    system.send(3000, "full-")
    with operator_client(system.redis.url) as client:
        client.config_set("maxmemory", 1)
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            client.set("more", 1)
        system.resume()
        system.delivered(3001, 120.0)
        client.config_set("maxmemory", "1gb")
        state = "ingest:{clevertap}:state"
        poll_until(lambda: client.hget(state, "memory_full") == b"0", what="a tick sees the room")
    system.send(10, "later-")
    system.delivered(3011)
    assert worker.returncode is None
    assert beat.returncode is None


def test_hanging_connections_are_replaced(system: System, tmp_path: Path) -> None:
    """Every connection is cut silently: all records are delivered, without duplicates."""
    port = int(system.redis.url.rpartition(":")[2].partition("/")[0])
    with Proxy(port) as proxy:
        system.variables["REDIS_URL"] = proxy.url
        pair = Pair(system, tmp_path)
        try:
            pair.start()
            system.send(200, "before-")
            system.delivered(200)
            proxy.freeze()
            system.send(200, "after-")
            system.delivered(400, HEARD_AGAIN_WITHIN_S)
        finally:
            pair.end()
    assert set(system.vendor.taken.values()) == {1}


def fill(system: System) -> int:
    """Send without any worker until producers are rejected; return the number of records."""
    producer = Producer.from_env(system.variables)
    records = (
        {"type": "event", "identity": f"fill-{at}", "evtName": "Burned", "evtData": {}}
        for at in count()
    )
    with pytest.raises(BufferFull) as full:
        producer.send_many(records)
    producer.close()
    return len(full.value.accepted)


@pytest.fixture
def brimming(system: System) -> tuple[System, int]:
    """A system with a Redis filled to the last byte without a worker; and the number of records."""
    with operator_client(system.redis.url) as client:
        client.config_set("maxmemory", "8mb")
        accepted = fill(system)
        used = int(client.info("memory")["used_memory"])
        assert used < 0.95 * 8 * 2**20, "the broker was left no room"
        client.config_set("maxmemory", used - 2**18)
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            client.set("more", 1)
    return system, accepted


def test_worker_started_on_a_full_redis_frees_memory_first(brimming: tuple[System, int]) -> None:
    """Redis filled up while no worker ran: a new one frees memory, then takes messages."""
    system, accepted = brimming
    worker, beat = system.start("worker"), system.start("beat")
    worker.wait_for(" ready.", RECOVERED_WITHIN_S)
    system.delivered(accepted, RECOVERED_WITHIN_S)
    system.send(10, "later-")
    system.delivered(accepted + 10)
    assert set(system.vendor.taken.values()) == {1}
    assert still_runs(worker, beat)


def test_worker_reconnecting_to_a_full_redis_frees_memory(brimming: tuple[System, int]) -> None:
    """After a lost connection Redis is back without free memory: the worker frees some."""
    system, accepted = brimming
    with operator_client(system.redis.url) as client:
        limit = client.config_get("maxmemory")["maxmemory"]
        client.config_set("maxmemory", "1gb")
        system.pause()
        worker, beat = system.worker(), system.start("beat")
        client.config_set("maxmemory", limit)
        client.client_kill_filter(_type="normal", skipme=True)
        worker.wait_for("Redis is full")
        system.resume()
        system.delivered(accepted, RECOVERED_WITHIN_S)
    assert still_runs(worker, beat)


def test_worker_draining_a_full_redis_exits_on_sigterm(brimming: tuple[System, int]) -> None:
    """SIGTERM ends a worker that could not connect to its broker yet and can send nothing."""
    system, accepted = brimming
    system.pause()
    worker = system.start("worker")
    worker.wait_for("Redis is full")
    assert worker.stop(deadline_s=GRACE_S) == 0
    assert system.status().kinds["event"].buffered == accepted
