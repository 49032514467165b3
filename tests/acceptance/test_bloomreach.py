"""Bloomreach from outside: real worker and beat processes against the sandbox."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis

from support.polling import poll_until
from support.processes import Processes
from worker import Producer
from worker.buffer import keys
from worker.buffer.buffer import Buffer
from worker.buffer.records import unpack
from worker.buffer.status import DestinationStatus
from worker.sandbox.server import Running, running
from worker.sandbox.settings import SandboxSettings
from worker.settings.settings import Settings

EVENTS, CUSTOMERS, UPDATES_EACH = 5000, 50, 10
REFUSED_EVERY = 97
SEEN = {"keep_requests": 100_000}


@pytest.fixture
def sandbox() -> Iterator[Running]:
    """One project in the sandbox, with the vendor's own request limit."""
    with running(SandboxSettings(**SEEN)) as started:  # type: ignore[arg-type]
        yield started


@pytest.fixture
def env(redis_url: str, sandbox: Running) -> dict[str, str]:
    """The environment of all our processes, with the destinations as shipped."""
    return {
        "REDIS_URL": redis_url,
        "BLOOMREACH_PROJECT_TOKEN": sandbox.state.settings.project_token,
        "BLOOMREACH_API_KEY_ID": sandbox.state.settings.api_key_id,
        "BLOOMREACH_API_SECRET": sandbox.state.settings.api_secret,
        "BLOOMREACH_BASE_URL": sandbox.url,
        "INGEST_MAX_WAIT_S": "1",
        "INGEST_BACKOFF_BASE_S": "0.1",
    }


def start(processes: Processes, env: Mapping[str, str]) -> None:
    """Start two workers and a beat."""
    env = {**env, "INGEST_BEAT_SCHEDULE": str(processes.folder / "beat")}
    for name in ("one", "two"):
        processes.start("worker", "-n", f"{name}@%h", env=env)
    processes.start("beat", env=env)


def status(client: redis.Redis, env: Mapping[str, str], name: str) -> DestinationStatus:
    """Return where a destination's records are, asserting that they add up."""
    found = Buffer(client, Settings.from_env(env).destination(name)).status()
    for kind, places in found.kinds.items():
        assert places.adds_up, (kind, places)
    return found


def settled(client: redis.Redis, env: Mapping[str, str], *names: str) -> bool:
    """Return whether these destinations have no more records to deliver."""
    found = [status(client, env, name) for name in names]
    return not any(places.open for each in found for places in each.kinds.values())


def dead(client: redis.Redis, name: str, kind: str) -> dict[bytes, tuple[str, str]]:
    """Return reason and error of each dead letter, by the record's body."""
    entries: Any = client.xrange(keys.dead(name, kind))
    return {
        unpack(entry[b"record"]).body: (entry[b"reason"].decode(), entry[b"error"].decode())
        for _, entry in entries
    }


def bodies(sandbox: Running, vendor: str, kind: str) -> list[dict[str, Any]]:
    """Return what the vendor accepted, in order of arrival."""
    rows = sandbox.state.ledger.rows()
    return [orjson.loads(row.body) for row in rows if (row.vendor, row.kind) == (vendor, kind)]


def event(number: int, event_type: str = "view_item") -> dict[str, Any]:
    """Return an event with a unique number."""
    ids = {"registered": f"customer-{number % CUSTOMERS}"}
    return {"customer_ids": ids, "event_type": event_type, "properties": {"number": number}}


def update(customer: int, step: int) -> dict[str, Any]:
    """Return one of a customer's updates, without a time."""
    properties = {"step": step, **({"internal_score": 1} if (customer, step) == (7, 5) else {})}
    return {"customer_ids": {"registered": f"customer-{customer}"}, "properties": properties}


def test_bloomreach_delivery_settles_every_record_by_its_id(
    processes: Processes,
    redis_client: redis.Redis,
    sandbox: Running,
    env: dict[str, str],
    rng: random.Random,
) -> None:
    """Batches hold at most 50; no record is lost or duplicated; each rejection names its record; a
    customer's updates keep their order and times, through outages and 429s."""
    for fault in (
        {"status": 503, "times": 3, "after": 5},
        {"status": 429, "times": 2, "after": 20},
    ):
        sandbox.state.faults.add({"vendor": "bloomreach", **fault})
    refused = set(range(13, EVENTS, REFUSED_EVERY))
    events = [event(at, "internal_audit" if at in refused else "view_item") for at in range(EVENTS)]
    updates = [
        update(customer, step) for step in range(UPDATES_EACH) for customer in range(CUSTOMERS)
    ]
    producer = Producer.from_env(env)
    start(processes, env)
    for chunk in range(0, EVENTS, 500):
        size = rng.randrange(1, 500)
        producer.send_many(events[chunk : chunk + size])
        producer.send_many(updates[chunk // 10 : chunk // 10 + 50])
        producer.send_many(events[chunk + size : chunk + 500])
    poll_until(lambda: settled(redis_client, env, "bloomreach"), 90, "all is settled")

    assert [rule["times"] for rule in sandbox.state.faults.listed()] == [0, 0]
    taken = Counter(each["properties"]["number"] for each in bodies(sandbox, "bloomreach", "event"))
    assert taken == Counter(set(range(EVENTS)) - refused)
    died = dead(redis_client, "bloomreach", "event")
    assert {orjson.loads(body)["properties"]["number"] for body in died} == refused
    assert set(died.values()) == {("refused", "Not authorized to add event of specified type")}

    steps = defaultdict(list)
    for each in bodies(sandbox, "bloomreach", "profile"):
        steps[each["customer_ids"]["registered"]].append(
            (each["properties"]["step"], each["update_timestamp"])
        )
    assert len(steps) == CUSTOMERS
    for customer, found in steps.items():
        expected = [step for step in range(UPDATES_EACH) if (customer, step) != ("customer-7", 5)]
        assert [step for step, _ in found] == expected
        times = [time for _, time in found]
        assert times == sorted(set(times)), "equal times would leave the order to the vendor"
    (score,) = dead(redis_client, "bloomreach", "profile").items()
    assert orjson.loads(score[0])["properties"] == {"step": 5, "internal_score": 1}

    requests = [seen for seen in sandbox.state.request_log if seen.vendor == "bloomreach"]
    assert max(seen.records for seen in requests) == 50
    kinds = status(redis_client, env, "bloomreach").kinds
    assert kinds["event"].totals["delivered"] == EVENTS - len(refused)
    assert kinds["profile"].totals["delivered"] == CUSTOMERS * UPDATES_EACH - 1


DESTINATIONS = """
[destinations.shop]
vendor = "clevertap"
account_id = "SHOP-ACCOUNT"
passcode = "${SHOP_PASSCODE}"
base_url = "%(first)s"
max_wait_s = 0.5
[destinations.shop.kinds.event]
batch_records = 1000
[destinations.shop.kinds.profile]
batch_records = 100
partitions = 8

[destinations.news]
vendor = "clevertap"
account_id = "NEWS-ACCOUNT"
passcode = "${NEWS_PASSCODE}"
base_url = "%(second)s"
max_wait_s = 0.5
[destinations.news.kinds.event]
batch_records = 1000

[destinations.shop-crm]
vendor = "bloomreach"
project_token = "shop-project"
api_key_id = "shop-key"
api_secret = "${SHOP_SECRET}"
base_url = "%(first)s"
max_wait_s = 0.5
[destinations.shop-crm.kinds.event]
batch_records = 50
[destinations.shop-crm.kinds.profile]
batch_records = 50
partitions = 8

[destinations.news-crm]
vendor = "bloomreach"
project_token = "news-project"
api_key_id = "news-public"
base_url = "%(second)s"
max_wait_s = 0.5
hard_id = "reader"
[destinations.news-crm.kinds.event]
batch_records = 20

[destinations.closed]
vendor = "bloomreach"
project_token = "no-such-project"
api_key_id = "shop-key"
api_secret = "${SHOP_SECRET}"
base_url = "%(first)s"
max_wait_s = 0.5
[destinations.closed.kinds.event]
batch_records = 50
"""
ACCOUNTS = (
    {"account_id": "SHOP-ACCOUNT", "passcode": "shop-pass", "project_token": "shop-project",
     "api_key_id": "shop-key", "api_secret": "shop-secret"},
    {"account_id": "NEWS-ACCOUNT", "passcode": "news-pass", "project_token": "news-project",
     "public_token": "news-public"},
)  # fmt: skip


@pytest.fixture
def accounts() -> Iterator[tuple[Running, Running]]:
    """Two accounts at each vendor, each pair in its own sandbox."""
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(running(SandboxSettings(**account, **SEEN)))  # type: ignore[arg-type]
            for account in ACCOUNTS
        )
        yield first, second


@pytest.fixture
def several(redis_url: str, accounts: tuple[Running, Running], tmp_path: Path) -> dict[str, str]:
    """Return an environment with those accounts as destinations, and one that rejects us."""
    file = tmp_path / "destinations.toml"
    file.write_text(DESTINATIONS % {"first": accounts[0].url, "second": accounts[1].url})
    return {
        "REDIS_URL": redis_url,
        "INGEST_DESTINATIONS": str(file),
        "SHOP_PASSCODE": "shop-pass",
        "NEWS_PASSCODE": "news-pass",
        "SHOP_SECRET": "shop-secret",
    }


def numbers(sandbox: Running, vendor: str) -> Counter[int]:
    """Return how often the vendor accepted the event of each number."""
    key = "evtData" if vendor == "clevertap" else "properties"
    return Counter(each[key]["number"] for each in bodies(sandbox, vendor, "event"))


def test_several_accounts_of_both_vendors_are_independent(
    processes: Processes,
    redis_client: redis.Redis,
    accounts: tuple[Running, Running],
    several: dict[str, str],
) -> None:
    """A record goes to exactly the accounts it names; an account that rejects us is parked with its
    records untouched and delays no other."""
    first, second = accounts
    everywhere = ("shop", "news", "shop-crm", "news-crm")
    start(processes, several)
    producer = Producer.from_env(several)
    to_all = producer.to(*everywhere)
    for number in range(300):
        ids = to_all.event("Viewed", {"number": number}, identity=f"i{number}")
        assert tuple(ids) == everywhere
    for at, name in enumerate((*everywhere, "closed"), 1):
        for number in range(1000 * at, 1000 * at + 50):
            producer.event("Viewed", {"number": number}, identity="i", destination=name)
    producer.to("shop", "shop-crm").profile({"City": "Brno"}, identity="i7")

    poll_until(lambda: settled(redis_client, several, *everywhere), what="all is settled")
    poll_until(lambda: status(redis_client, several, "closed").state == "parked", what="it parks")
    for at, (sandbox, vendor) in enumerate(
        (
            (first, "clevertap"),
            (second, "clevertap"),
            (first, "bloomreach"),
            (second, "bloomreach"),
        ),
        1,
    ):
        own = range(1000 * at, 1000 * at + 50)
        assert numbers(sandbox, vendor) == Counter([*range(300), *own]), (at, vendor)
    assert bodies(first, "clevertap", "profile")[0]["profileData"] == {"City": "Brno"}
    assert bodies(first, "bloomreach", "profile")[0]["properties"] == {"City": "Brno"}
    assert {tuple(each["customer_ids"]) for each in bodies(second, "bloomreach", "event")} == {
        ("reader",)
    }
    closed = status(redis_client, several, "closed")
    assert "Invalid project id" in (closed.reason or "")
    assert closed.kinds["event"].open == 50
    assert closed.kinds["event"].totals["dead_lettered"] == 0
    sizes = [seen.records for seen in second.state.request_log if seen.vendor == "bloomreach"]
    assert max(sizes) == 20
