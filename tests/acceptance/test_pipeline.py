"""The pipeline from outside: the real commands, worker and beat, against a vendor on loopback."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from support.environment import environment
from support.polling import poll_until
from support.processes import Processes
from support.vendor import PASSCODE, Exchange, LoopbackVendor
from worker import Producer

EVENTS, PROFILES, FAULTY_EVERY = 20_000, 2_000, 400
MARK = "person-mark"
MAX_WAIT_S = 1.0


@pytest.fixture
def vendor() -> Iterator[LoopbackVendor]:
    """A vendor that rejects some records, in random order."""
    with LoopbackVendor() as vendor:
        vendor.usual = unhelpful
        for at in range(7, EVENTS, FAULTY_EVERY):
            vendor.prescribe(f"{MARK}-e{at}", always=(513, 528)[at % 2])
        for at in range(7, PROFILES, FAULTY_EVERY):
            vendor.prescribe(f"{MARK}-p{at}", always=516)
        yield vendor


@pytest.fixture
def env(redis_url: str, vendor: LoopbackVendor) -> dict[str, str]:
    """The environment of all our processes."""
    return {
        "REDIS_URL": redis_url,
        **vendor.environment,
        "INGEST_MAX_WAIT_S": str(MAX_WAIT_S),
    }


def unhelpful(exchange: Exchange) -> None:
    """Answer correctly, but list rejections in any order, with echoes that differ."""
    records = exchange.records()
    answer = json.loads(exchange.vendor.take(records, dry_run=exchange.noted.dry_run))
    random.Random(len(records)).shuffle(answer["unprocessed"])
    for refusal in answer["unprocessed"]:
        refusal["record"] = {"identity": 0, "type": records[0]["type"]}
    exchange.answer(200, answer)


def ingest(env: Mapping[str, str], *args: str, stdin: str = "") -> str:
    """Run `ingest` as a user does; return its output."""
    command = [str(Path(sys.prefix, "bin", "ingest")), *args]
    done = subprocess.run(
        command,
        input=stdin,
        env=environment(env),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def places(env: Mapping[str, str]) -> dict[str, Any]:
    """Return the kinds of the first destination, from `ingest status --json`."""
    kinds: dict[str, Any] = json.loads(ingest(env, "status", "--json"))["destinations"][
        "clevertap"
    ]["kinds"]
    return kinds


def adds_up(kind: Mapping[str, Any]) -> bool:
    """Assert the promise, as any user can."""
    totals = kind["totals"]
    open_ = kind["buffered"] + kind["in_flight"] + kind["retrying"]
    return bool(totals["accepted"] == open_ + totals["delivered"] + kind["dead"] + totals["purged"])


def lines() -> Iterator[str]:
    """The records of the test, events and profiles mixed, as JSON Lines."""
    for at in range(EVENTS):
        event = {"identity": f"{MARK}-e{at}", "type": "event", "evtName": "Product viewed"}
        yield json.dumps(event | {"evtData": {"n": at}})
        nth, between = divmod(at, EVENTS // PROFILES)
        if between == 0:
            profile = {"identity": f"{MARK}-p{nth}", "type": "profile"}
            yield json.dumps(profile | {"profileData": {"Name": f"{MARK} {nth}"}})


def test_backlog_leaves_in_full_requests_and_arrives_once(
    env: dict[str, str], vendor: LoopbackVendor, processes: Processes
) -> None:
    """Records become full batches; each arrives once, or is a dead letter with its own code."""
    worker = processes.start("worker", "-n", "one@test", env=env)
    beat = processes.start("beat", "-s", str(processes.folder / "beat"), "--pidfile=", env=env)
    worker.wait_for("ready")
    # The task events that Flower gets, as Celery's own command prints them.
    command = ["celery", "-A", "worker.app", "events", "--dump"]
    shown = processes.run(command, env=environment(env), name="events")
    shown.wait_for("heartbeat")
    ingest(
        env, "pause", "clevertap"
    )  # so that the first records are not sent before the rest is there
    sent = json.loads(ingest(env, "send", "-", stdin="\n".join(lines()) + "\n"))
    assert sent == {"accepted": EVENTS + PROFILES, "rejected": 0}
    ingest(env, "resume", "clevertap")
    while True:
        kinds = places(env)
        assert all(adds_up(kind) for kind in kinds.values()), kinds
        if not any(kind["buffered"] or kind["in_flight"] for kind in kinds.values()):
            break
    ingest(env, "wait", "--timeout", "60")

    kinds = places(env)
    faulty = {"event": EVENTS // FAULTY_EVERY, "profile": PROFILES // FAULTY_EVERY}
    assert all(adds_up(kind) for kind in kinds.values())
    assert {name: kinds[name]["dead"] for name in faulty} == faulty
    assert set(vendor.taken.values()) == {1}
    assert len(vendor.taken) == EVENTS + PROFILES - sum(faulty.values())

    sizes = [(each.identities[0].split("-")[2][0], each.records) for each in vendor.uploads]
    full = [size for size in sizes if size in (("e", 1000), ("p", 100))]
    assert all(records <= {"e": 1000, "p": 100}[kind] for kind, records in sizes)
    assert len(full) >= 0.95 * len(sizes), sizes

    dead = [json.loads(line) for line in ingest(env, "dlq", "list", "--json").splitlines()]
    codes = {letter["record"]["identity"]: letter["code"] for letter in dead}
    expected = {f"{MARK}-e{at}": (513, 528)[at % 2] for at in range(7, EVENTS, FAULTY_EVERY)}
    expected |= {f"{MARK}-p{at}": 516 for at in range(7, PROFILES, FAULTY_EVERY)}
    assert codes == expected

    # The number that a task delivers depends on how many batches are ready.
    result = re.compile(r"'delivered': [1-9]\d*, 'dead': \d+, 'retry': 0")
    poll_until(lambda: result.search(shown.output()), what="a task reports what it delivered")
    events = shown.output()
    assert "'kind': 'event', 'records': 1000, 'attempt': 1" in events
    everything = worker.output() + beat.output() + events
    assert not [word for word in (PASSCODE, MARK) if word in everything]


def test_single_record_waits_at_most_max_wait_and_a_tick(
    env: dict[str, str], vendor: LoopbackVendor, processes: Processes
) -> None:
    """On an idle system a single record arrives after `max_wait` and one tick."""
    worker = processes.start("worker", "-n", "one@test", env=env)
    processes.start("beat", "-s", str(processes.folder / "beat"), "--pidfile=", env=env)
    worker.wait_for("ready")
    ingest(env, "send", "-", stdin='{"identity":"first","type":"event","evtName":"A","evtData":{}}')
    poll_until(lambda: vendor.taken["first"], what="the system is idle and warm")
    producer = Producer.from_env(env)
    took_s = []
    for name in ("second", "third", "fourth", "fifth", "sixth"):
        began_s = time.monotonic()
        producer.event("A", {}, identity=name)
        poll_until(lambda name=name: vendor.taken[name], what="the lone record arrives")  # type: ignore[misc] # mypy takes no defaults here
        took_s.append(time.monotonic() - began_s)
        # One second for the tick and one for the machine; a busy one gets a few chances.
        if took_s[-1] < MAX_WAIT_S + 2.0:
            return
    raise AssertionError(f"none was in time: {took_s}")
