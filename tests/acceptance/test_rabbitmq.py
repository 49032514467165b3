"""RabbitMQ as Celery's broker, while the records stay in Redis."""

from __future__ import annotations

import threading

import pytest
from kombu.connection import Connection

from support.commands import Cli
from support.environment import ROOT, environment
from support.polling import poll_until
from support.processes import Process, Processes, hurried, procfile
from support.services import RabbitMQ
from support.vendor import Exchange, LoopbackVendor
from worker import Producer
from worker.app.scheduler import MAX_QUEUED_TICKS, queued_messages

EVENTS = 3000


@pytest.fixture
def env(redis_url: str, rabbitmq: RabbitMQ, vendor: LoopbackVendor) -> dict[str, str]:
    """The environment of all our processes."""
    return {
        "REDIS_URL": redis_url,
        "CELERY_BROKER_URL": rabbitmq.url,
        **vendor.environment,
        "INGEST_DRAIN_INTERVAL_S": "0.5",
        "INGEST_MAX_WAIT_S": "0.5",
        # A broker that is killed may lose a message, which costs the time of a lease.
        "INGEST_REQUEST_TIMEOUT_S": "5",
        "INGEST_LEASE_S": "15",
    }


def start(processes: Processes, env: dict[str, str]) -> Process:
    """A beat, and a worker that is ready."""
    processes.start("beat", "-s", str(processes.folder / "beat"), "--pidfile=", env=env)
    command = [*hurried(procfile()["worker"]), "-n", "one@test"]
    hurried_env = environment({"PYTHONPATH": str(ROOT / "tests"), **env})
    worker = processes.run(command, env=hurried_env, name="worker")
    worker.wait_for("ready")
    return worker


def messages(rabbitmq: RabbitMQ, queue: str = "ingest") -> int:
    """Return the number of messages in a queue, as beat and watchdog read it."""
    with Connection(rabbitmq.url) as connection:  # type: ignore[no-untyped-call] # kombu has none
        return queued_messages(connection, queue)


def send(env: dict[str, str], prefix: str, size: int = EVENTS) -> set[str]:
    """Enqueue events; return their identities."""
    names = {f"{prefix}{number}" for number in range(size)}
    result = Producer.from_env(env).send_many(
        {"identity": name, "type": "event", "evtName": "Viewed", "evtData": {}} for name in names
    )
    assert result.accepted == size
    return names


def test_pipeline_on_rabbitmq_delivers_and_leaves_no_messages(
    env: dict[str, str], vendor: LoopbackVendor, processes: Processes, rabbitmq: RabbitMQ
) -> None:
    """Worker, beat and control commands work over AMQP; every record arrives once."""
    worker = start(processes, env)
    sent = send(env, "a")
    assert Cli(env)("wait", "--timeout", "60").returncode == 0
    assert vendor.taken == dict.fromkeys(sent, 1)
    command = ["celery", "-A", "worker.app", "inspect", "ping", "--timeout", "10"]
    pinged = processes.run(command, env=environment(env), name="ping")
    assert pinged.popen.wait(60) == 0, pinged.output()
    assert worker.returncode is None
    poll_until(lambda: messages(rabbitmq) == 0, what="no message is left")


def test_beat_without_workers_stops_at_a_few_messages(
    env: dict[str, str], processes: Processes, rabbitmq: RabbitMQ
) -> None:
    """The queue's length is read over AMQP too, so ticks stop at a handful."""
    env = {**env, "INGEST_DRAIN_INTERVAL_S": "0.05"}
    worker = start(processes, env)
    worker.stop()
    poll_until(lambda: messages(rabbitmq) >= MAX_QUEUED_TICKS, what="ticks wait")
    assert messages(rabbitmq) <= MAX_QUEUED_TICKS + 1
    assert messages(rabbitmq, "no such queue") == 0


def test_worker_without_rabbitmq_drains_and_reconnects(
    env: dict[str, str], vendor: LoopbackVendor, processes: Processes, rabbitmq: RabbitMQ
) -> None:
    """While the broker is down the worker drains on its own; records never went through it.

    A task that ran when the connection was lost does not touch the next one from its thread.
    """
    met, killed = threading.Event(), threading.Event()

    def take_once_killed(exchange: Exchange) -> None:
        records = exchange.records()
        met.set()
        killed.wait(60)
        exchange.answer(200, vendor.take(records))

    worker = start(processes, env)
    vendor.script(take_once_killed)
    sent = send(env, "before", 1000)
    assert met.wait(60), "a delivery is under way"
    rabbitmq.kill()
    worker.wait_for("Connection to broker lost")
    killed.set()
    sent |= send(env, "during", 1000)
    poll_until(lambda: sent <= set(vendor.taken), 90, "the worker drains on its own")
    rabbitmq.start()
    poll_until(lambda: took(worker, rabbitmq), what="the worker takes messages again")
    sent |= send(env, "after", 1000)
    poll_until(lambda: sent <= set(vendor.taken), what="all is delivered")
    assert worker.returncode is None, "on its own, not by a restart"
    assert "prefetch count" not in worker.output()


def took(worker: Process, rabbitmq: RabbitMQ) -> bool:
    """Return whether the worker is connected again and has emptied the queue."""
    return worker.output().count("Connected to amqp://") >= 2 and messages(rabbitmq) == 0
