"""A master dies while producers send: Sentinels, the replica, and a worker that reconnects."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from support.commands import Cli
from support.polling import poll_until
from support.processes import Processes
from support.redis_groups import Guarded, linked
from support.vendor import LoopbackVendor
from worker import AsyncProducer, Producer
from worker.errors import BufferUnavailable

BEFORE, AFTER = 3000, 200
FAIL_OVER_S = 120.0  # about 5 s with these Sentinel settings, more on a busy machine


@pytest.fixture
def env(guarded: Guarded, vendor: LoopbackVendor) -> dict[str, str]:
    """Everything on one Redis behind Sentinels, Celery's messages too."""
    return {
        "REDIS_URL": guarded.url,
        **vendor.environment,
        "INGEST_MAX_WAIT_S": "0.5",
        "INGEST_REQUEST_TIMEOUT_S": "30",
        "INGEST_LEASE_S": "40",
    }


def records(size: int, prefix: str) -> list[dict[str, object]]:
    """Return events with different identities."""
    return [
        {"identity": f"{prefix}{n}", "type": "event", "evtName": "Viewed", "evtData": {}}
        for n in range(size)
    ]


def refusals(producer: Producer) -> Iterator[BufferUnavailable]:
    """Send single events until the new master accepts one; return the errors of the others."""
    end = time.monotonic() + FAIL_OVER_S
    for number in range(10**6):
        began = time.monotonic()
        try:
            producer.event("Viewed", identity=f"during{number}")
        except BufferUnavailable as error:
            assert time.monotonic() - began < 20.0, "a producer gets an error soon"
            assert time.monotonic() < end, "the replica never took over"
            yield error
        else:
            return


@pytest.fixture
def hurried(env: dict[str, str], prompt_producers: None) -> Producer:
    """Create a producer that waits no longer than a web request may."""
    return Producer.from_env(env)


def accepts(producer: Producer, identity: str) -> bool:
    """Return whether an event is accepted."""
    try:
        producer.event("Viewed", identity=identity)
    except BufferUnavailable:  # the machine paused a process for a quarter of a second
        return False
    return True


def test_sentinel_failover_loses_no_replicated_record(
    env: dict[str, str],
    guarded: Guarded,
    vendor: LoopbackVendor,
    processes: Processes,
    hurried: Producer,
) -> None:
    """Producers get clear errors, worker and beat continue with the new master on their own, and
    every record that the replica had is delivered."""
    worker = processes.start("worker", "-n", "one@test", env=env)
    processes.start("beat", "-s", str(processes.folder / "beat"), "--pidfile=", env=env)
    worker.wait_for("ready")
    producer = hurried
    poll_until(lambda: accepts(producer, "warm"), what="an event is taken")
    poll_until(lambda: vendor.taken["warm"], what="the system is warm")
    assert producer.send_many(records(BEFORE, "before")).accepted == BEFORE
    # An acknowledged record is safe once the replica has it.
    assert guarded.master.client.wait(1, 5000) == 1
    guarded.master.process.kill()

    met = list(refusals(producer))
    assert met
    assert all("Redis did not accept the record" in str(error) for error in met)
    assert not met[-1].sent, "whoever cannot find a master has sent nothing"
    assert producer.send_many(records(AFTER, "after")).accepted == AFTER
    expected = {f"before{n}" for n in range(BEFORE)} | {f"after{n}" for n in range(AFTER)}
    poll_until(lambda: expected <= set(vendor.taken), 90, "the worker delivers again")
    assert worker.returncode is None, "on its own, not by a restart"
    cli = Cli(env)
    assert cli("wait", "--timeout", "60").returncode == 0
    places = cli.status()["kinds"]["event"]
    assert places["dead"] == 0
    assert places["totals"]["accepted"] == places["totals"]["delivered"]
    assert {identity for identity in vendor.taken if identity in expected} == expected


def test_producer_on_a_demoted_master_reports_that_nothing_was_sent(
    env: dict[str, str], guarded: Guarded
) -> None:
    """On the wrong server a record was certainly not accepted, so the producer may repeat it."""
    producer = Producer.from_env(env)
    producer.event("Viewed", identity="1")
    poll_until(lambda: linked(guarded.replica), what="the replica follows")
    # Sentinels would cut the connections; this is the moment before that.
    for sentinel in guarded.sentinels:
        sentinel.process.kill()
    guarded.master.client.replicaof("127.0.0.1", str(guarded.replica.port))
    with pytest.raises(BufferUnavailable) as refused:
        producer.event("Viewed", identity="2")
    assert not refused.value.sent
    with pytest.raises(BufferUnavailable) as refused:
        producer.event("Viewed", identity="3")
    assert not refused.value.sent, "no Sentinel answers"


def test_async_producer_finds_the_master_through_sentinels(
    env: dict[str, str], guarded: Guarded
) -> None:
    """Sentinels name the master to `AsyncProducer`; without a master it has sent nothing."""

    async def send(environ: dict[str, str]) -> None:
        producer = AsyncProducer.from_env(environ)
        try:
            await producer.event("Viewed", identity="1")
        finally:
            await producer.close()

    asyncio.run(send(env))
    assert guarded.master.client.hget("ingest:{clevertap}:counters", "event:accepted") == b"1"
    nowhere = {**env, "REDIS_URL": guarded.url.replace("/records/", "/others/")}
    with pytest.raises(BufferUnavailable) as refused:
        asyncio.run(send(nowhere))
    assert not refused.value.sent
