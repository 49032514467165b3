"""Workers and beats die, stop, or are too many: nothing is lost, and repetitions are counted."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from celery import Celery

from chaos.supervised_process import SupervisedProcess
from support import fault_scripts
from support.polling import poll_until
from support.system import System
from support.vendor import Exchange
from worker.buffer.buffer import Buffer
from worker.buffer.claims import Claim
from worker.connections.clients import worker_client
from worker.settings.settings import Settings

STOP_WITHIN_S = 45.0  # the grace period in the README
# So that no worker is taken for dead on a busy machine.
PATIENT = {"INGEST_REQUEST_TIMEOUT_S": "30", "INGEST_LEASE_S": "60"}


def test_killed_workers_batch_is_resent_first_and_counted(system: System) -> None:
    """After SIGKILL during a request, the batch goes before all others, in order, as ambiguous."""
    system.vendor.script(fault_scripts.silence_after_taking)
    system.configure(
        {
            "batch_records = 1000": "batch_records = 10",
            "concurrency_limit = 15": "concurrency_limit = 1",
        }
    )
    system.send(30)
    worker, _ = system.worker(), system.start("beat")
    poll_until(lambda: system.vendor.taken, what="a request is under way")
    worker.kill()
    system.variables |= PATIENT
    system.worker()
    system.delivered(30)
    first, again, *others = [each.identities for each in system.vendor.uploads]
    assert first == again == [f"e{at}" for at in range(10)]
    assert [identity for each in others for identity in each] == [f"e{at}" for at in range(10, 30)]
    status = system.status()
    assert status.kinds["event"].totals["ambiguous"] == 10
    assert status.answers["worker_lost"] == 1


@pytest.fixture
def kept(system: System, tmp_path: Path) -> Iterator[list[SupervisedProcess]]:
    """Workers in this list are stopped after the test."""
    started: list[SupervisedProcess] = []
    yield started
    for each in started:
        each.end()


def keep(
    system: System, kept: list[SupervisedProcess], line: str, folder: Path
) -> SupervisedProcess:
    """A process that is restarted whenever it ends."""
    kept.append(
        SupervisedProcess(f"kept-{line}", system.command(line), system.environment(), folder)
    )
    return kept[-1]


def test_record_that_kills_workers_becomes_a_dead_letter_alone(
    system: System, kept: list[SupervisedProcess], tmp_path: Path
) -> None:
    """Each worker that sends it is killed: its batch is halved until it alone is dead as poison."""
    system.configure({"concurrency = 3": "concurrency = 1\nmax_deaths = 1"})
    system.variables |= {"INGEST_REQUEST_TIMEOUT_S": "2", "INGEST_LEASE_S": "3"}
    system.send(4)

    def kill_or_take(exchange: Exchange) -> None:
        records = exchange.records()
        if any(record["identity"] == "e2" for record in records):
            kept[0].kill()
            exchange.hang_up()
        else:
            exchange.answer(200, system.vendor.take(records))

    system.vendor.usual = kill_or_take
    keep(system, kept, "worker", tmp_path)
    system.start("beat")
    system.delivered(3, 60.0)
    assert system.vendor.taken.keys() == {"e0", "e1", "e3"}
    status = system.status()
    assert status.codes["event"] == {"poison": 1}
    assert kept[0].endings == Counter({-signal.SIGKILL: 3})


def test_five_beats_deliver_each_event_once(system: System) -> None:
    """Five beats tick at the same time, and every event is delivered exactly once."""
    system.variables |= PATIENT
    system.worker()
    for _ in range(5):
        system.start("beat")
    for at in range(10):
        system.send(300, f"{at}-")
    system.delivered(3000)
    assert set(system.vendor.taken.values()) == {1}
    assert system.total("ambiguous") == 0


def test_worker_without_a_beat_drains_on_its_own(system: System) -> None:
    """Without any beat a worker notices, and drains on its own."""
    system.worker()
    system.send(100)
    system.delivered(100)
    system.send(100, "later")
    system.delivered(200)
    assert set(system.vendor.taken.values()) == {1}


def test_worker_on_sigterm_waits_for_its_responses(system: System) -> None:
    """During slow requests: they are settled, nothing stays in flight, and it exits with 0."""
    system.variables |= PATIENT
    system.vendor.latency_s = 3.0
    system.configure({"batch_records = 1000": "batch_records = 10"})
    system.send(100)
    worker, _ = system.worker(), system.start("beat")
    poll_until(lambda: system.vendor.most_under_way >= 2, what="requests are under way")
    assert worker.stop(signal.SIGTERM, STOP_WITHIN_S) == 0
    events = system.status().kinds["event"]
    assert events.in_flight == 0
    assert events.totals["delivered"] == len(system.vendor.taken) >= 20
    assert events.totals["ambiguous"] == 0


def test_worker_on_sigterm_hands_back_batches_not_started(system: System) -> None:
    """With messages still in the queue, their batches wait again, untouched."""
    system.variables |= {"INGEST_THREADS": "1", **PATIENT}
    system.vendor.latency_s = 1.5
    system.configure({"batch_records = 1000": "batch_records = 10"})
    system.send(100)
    worker, _ = system.worker(), system.start("beat")
    poll_until(lambda: system.vendor.taken, what="a request was answered")
    assert worker.stop(signal.SIGTERM, STOP_WITHIN_S) == 0
    events = system.status().kinds["event"]
    assert events.in_flight == 0
    assert events.totals["attempts"] == len(system.vendor.uploads)
    assert events.totals["ambiguous"] == 0


def test_worker_on_a_second_sigint_exits_without_loss(system: System) -> None:
    """A second SIGINT ends it immediately; the next worker delivers all and counts repetitions."""
    system.vendor.script(fault_scripts.silence_after_taking)
    system.send(50)
    worker, _ = system.worker(), system.start("beat")
    poll_until(lambda: system.vendor.taken, what="a request is under way")
    worker.send(signal.SIGINT)
    worker.wait_for("shutdown")
    worker.send(signal.SIGINT)
    worker.popen.wait(STOP_WITHIN_S)
    system.worker()
    system.delivered(50)
    assert system.vendor.taken.keys() == {f"e{at}" for at in range(50)}
    assert sum(system.vendor.taken.values()) - 50 <= system.total("ambiguous")


def test_worker_ignores_duplicate_and_late_messages(system: System) -> None:
    """Messages that arrive twice, or after another worker got their batch, deliver nothing."""
    system.variables |= PATIENT
    system.configure({"batch_records = 1000": "batch_records = 10"})
    system.send(50)
    destination = Settings.from_env(system.variables).destination("clevertap")
    with worker_client(system.redis.url) as client:
        given_away = Buffer(client, replace(destination, lease_s=0.0)).claim(begun=False)
        assert Buffer(client, destination).recover().unbegun == 1
        claimed = Buffer(client, destination).claim(begun=False)
        again = Buffer(client, destination).claim(begun=False)
    assert given_away
    assert claimed
    assert again
    assert claimed.batch == given_away.batch
    for claim in (given_away, claimed, again, claimed, again):
        _ask_to_deliver(system, claim)
    system.start("beat")
    system.worker()
    system.delivered(50)
    poll_until(lambda: not _waiting(system), what="all messages are read")
    assert set(system.vendor.taken.values()) == {1}
    assert system.total("ambiguous") == 0


def _ask_to_deliver(system: System, claim: Claim) -> None:
    with Celery("asks", broker=system.redis.url, set_as_current=False) as app:
        arguments = {"destination": "clevertap", "batch": claim.batch, "token": claim.token}
        app.send_task("ingest.deliver", kwargs=arguments, queue="ingest", ignore_result=True)


def _waiting(system: System) -> int:
    with worker_client(system.redis.url) as client:
        return int(client.llen("ingest"))
