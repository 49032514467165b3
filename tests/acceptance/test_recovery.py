"""Workers and beats that die, stop, or are too many: none is lost, and each repeat is counted."""

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

STOP_WITHIN_S = 45.0  # the grace period that the README asks for
# For workers that nothing may take for dead, however busy the machine is.
PATIENT = {"INGEST_REQUEST_TIMEOUT_S": "30", "INGEST_LEASE_S": "60"}


def test_a_killed_workers_batch_goes_first_and_is_counted(system: System) -> None:
    """SIGKILL with a request under way: sent again before all others, ambiguous, in order."""
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
    """Workers put into this list are ended after the test."""
    started: list[SupervisedProcess] = []
    yield started
    for each in started:
        each.end()


def keep(
    system: System, kept: list[SupervisedProcess], line: str, folder: Path
) -> SupervisedProcess:
    """A process that is started again whenever it ends."""
    kept.append(
        SupervisedProcess(f"kept-{line}", system.command(line), system.environment(), folder)
    )
    return kept[-1]


def test_a_record_that_kills_workers_dies_alone(
    system: System, kept: list[SupervisedProcess], tmp_path: Path
) -> None:
    """Each worker that sends it is killed: its batch is halved until it alone is dead as poison."""
    system.configure({"concurrency = 3": "concurrency = 1\nmax_deaths = 1"})
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


def test_five_beats_do_no_harm(system: System) -> None:
    """Five beats tick at once, and every event is delivered just once."""
    system.variables |= PATIENT
    system.worker()
    for _ in range(5):
        system.start("beat")
    for at in range(10):
        system.send(300, f"{at}-")
    system.delivered(3000)
    assert set(system.vendor.taken.values()) == {1}
    assert system.total("ambiguous") == 0


def test_no_beat_costs_only_latency(system: System) -> None:
    """Without any beat a worker notices, and drains by itself."""
    system.worker()
    system.send(100)
    system.delivered(100)
    system.send(100, "later")
    system.delivered(200)
    assert set(system.vendor.taken.values()) == {1}


def test_a_worker_that_is_told_to_stop_hears_its_answers(system: System) -> None:
    """SIGTERM during slow requests: they are settled, nothing stays in flight, and it exits 0."""
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


def test_a_worker_that_is_told_to_stop_gives_back_what_it_has_not_begun(system: System) -> None:
    """SIGTERM with messages still in the queue: their batches wait again, untouched."""
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


def test_an_impatient_operator_loses_nothing(system: System) -> None:
    """SIGINT twice ends a worker at once; the next one delivers all, and counts what it repeats."""
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


def test_old_messages_are_refused(system: System) -> None:
    """Messages that come twice, or after their batch was given to another, deliver nothing."""
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
        told = {"destination": "clevertap", "batch": claim.batch, "token": claim.token}
        app.send_task("ingest.deliver", kwargs=told, queue="ingest", ignore_result=True)


def _waiting(system: System) -> int:
    with worker_client(system.redis.url) as client:
        return int(client.llen("ingest"))
