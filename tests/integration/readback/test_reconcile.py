"""Reconciliation: real settlements in a real Redis against the sandbox's counts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis

from support.environment import environment
from support.reading import DAY, NAME, NOW, account, environment_of, fill, says
from support.vendor import LoopbackVendor
from worker.buffer import keys
from worker.buffer.buffer import Buffer
from worker.dead_letters.letters import DeadLetters
from worker.dead_letters.replay import Replayer
from worker.delivery.deliverer import Deliverer
from worker.errors import VendorError
from worker.producer.producer import Producer
from worker.readback.client import reading
from worker.readback.reconcile import (
    KEPT_S,
    EventComparison,
    Reconciler,
    Reconciliation,
    delivered_days,
)
from worker.sandbox.server import Running, running
from worker.settings.destination import Destination
from worker.settings.settings import Settings
from worker.vendors.transport import Transport

YESTERDAY = (datetime.fromtimestamp(NOW, UTC) - timedelta(days=1)).strftime("%Y%m%d")


@pytest.fixture
def sandbox() -> Iterator[Running]:
    """A sandbox of the test's own."""
    with running() as started:
        yield started


def settings_for(to: Destination) -> Settings:
    """Settings with this destination and no other."""
    shipped = Settings.from_env({})
    return replace(shipped, destinations={to.name: to}, default_destination=to.name)


def deliver(client: redis.Redis, to: Destination, *records: dict[str, Any]) -> None:
    """Take records in and deliver them, as the worker's own parts do."""
    result = Producer(settings_for(to), client).send_many(records)
    assert result.rejected == 0
    transport = Transport(to.base_url, timeout_s=5)
    vendor = to.account.adapter(to.base_url)
    buffer = Buffer(client, to)
    deliverer = Deliverer(to, buffer, vendor, transport)
    while (claim := buffer.claim(begun=True)) is not None:
        deliverer.deliver(claim)
    transport.close()


def event(number: int, name: str = NAME, ts: float = NOW) -> dict[str, Any]:
    """One event in the vendor's shape."""
    record = {"identity": f"i{number}", "type": "event", "evtName": name, "evtData": {"n": number}}
    return record | {"ts": int(ts)}


def ready(to: Destination) -> Destination:
    """The same, with partial batches sent at once."""
    return replace(to, max_wait_s=0.0)


def reconciled(client: redis.Redis, to: Destination, **given: Any) -> Reconciliation:
    """Compare now."""
    with reading(to) as reader:
        return Reconciler(reader, client).run(**given)


def test_reconcile_command_names_missing_events(
    redis_client: redis.Redis, redis_url: str, sandbox: Running
) -> None:
    """10,000 deliveries agree with exit 0; 7 removed events are named with exit 3."""
    to = ready(account(sandbox.url, name="clevertap"))
    deliver(redis_client, to, *(event(number) for number in range(10_000)))
    agreed = ingest(sandbox, redis_url)
    assert (agreed.returncode, agreed.stdout.splitlines()[-1]) == (0, "clevertap: all 1 agree")
    sandbox.state.ledger.remove(lambda row: row.name == NAME, 7)
    differs = ingest(sandbox, redis_url)
    assert differs.returncode == 3
    assert f"{NAME} on {DAY}: 7 too few" in differs.stdout
    reported = json.loads(ingest(sandbox, redis_url, "--json").stdout)
    (line,) = reported["destinations"]["clevertap"]["events"]
    assert reported["agrees"] is False
    assert (line["event"], line["day"]) == (NAME, DAY)
    assert (line["delivered"], line["counted"], line["difference"]) == (10_000, 9_993, -7)
    assert "recent day" in line["note"]
    assert ingest(sandbox, redis_url, "--date", YESTERDAY).returncode == 0
    assert ingest(sandbox, redis_url, "--date", "2026").returncode == 2
    assert ingest(sandbox, redis_url, "--destination", "bloomreach").returncode == 2


def ingest(sandbox: Running, redis_url: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run `ingest reconcile` as a user does."""
    return subprocess.run(
        [str(Path(sys.prefix, "bin", "ingest")), "reconcile", *args],
        env=environment(environment_of(sandbox.url, REDIS_URL=redis_url)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_reconcile_merges_spellings_as_the_vendor_does(
    redis_client: redis.Redis, sandbox: Running
) -> None:
    """Names that differ only in case and spaces are one event on both sides."""
    to = ready(account(sandbox.url))
    spellings = ("Sign Up", "signup", "signup", 'Ünï "x" \\ \t名')
    deliver(redis_client, to, *(event(number, name) for number, name in enumerate(spellings)))
    found = reconciled(redis_client, to)
    assert found.agrees
    assert {(line.event, line.delivered) for line in found.lines} == {
        ("signup", 3),
        ('Ünï "x" \\ \t名', 1),
    }


def test_reconcile_uses_days_in_the_accounts_zone(
    redis_client: redis.Redis,
) -> None:
    """One in the morning UTC is the day before in Los Angeles, also for backfilled days."""
    from zoneinfo import ZoneInfo

    from worker.sandbox.settings import SandboxSettings

    zone = "America/Los_Angeles"
    with running(SandboxSettings(time_zone=zone)) as sandbox:
        to = ready(account(sandbox.url, timezone=ZoneInfo(zone)))
        at = datetime(2024, 3, 2, 1, tzinfo=UTC).timestamp()
        deliver(redis_client, to, event(1, ts=at), event(2, ts=at))
        found = reconciled(redis_client, to)
    assert [(line.day, line.delivered, line.counted) for line in found.lines] == [
        ("20240301", 2, 2)
    ]


def test_reconcile_shifted_days_suggest_the_time_zone(
    redis_client: redis.Redis, sandbox: Running
) -> None:
    """Differences that cancel out across days point to the setting."""
    to = ready(account(sandbox.url))
    noon = datetime(2024, 3, 2, 12, tzinfo=UTC).timestamp()
    deliver(redis_client, to, event(1, ts=noon), event(2, ts=noon - 86400))
    redis_client.hincrby(keys.tally("main", "20240301"), NAME, 1)
    redis_client.hincrby(keys.tally("main", "20240302"), NAME, -1)
    notes = {line.note for line in reconciled(redis_client, to).differences}
    assert notes == {"the days' differences cancel out: is `timezone` the account's?"}


def test_reconcile_records_what_is_missing_on_past_days(
    redis_client: redis.Redis, sandbox: Running
) -> None:
    """The status counts neither surplus nor recent days, and only a whole comparison updates it."""
    to = ready(account(sandbox.url))
    noon = datetime(2024, 3, 2, 12, tzinfo=UTC).timestamp()
    deliver(redis_client, to, event(1, ts=noon), event(2, ts=noon - 86400), event(3))
    redis_client.hincrby(keys.tally("main", "20240301"), NAME, 4)
    redis_client.hincrby(keys.tally("main", "20240302"), NAME, -1)
    redis_client.hincrby(keys.tally("main", DAY), NAME, 7)
    buffer = Buffer(redis_client, to)
    reconciled(redis_client, to, day="20240301")
    assert buffer.status().reconciled_ms is None
    found = reconciled(redis_client, to)
    assert buffer.status().reconciled_ms == found.checked_at * 1000
    assert buffer.status().missing == 4


def test_reconcile_surplus_names_possible_duplicates(
    redis_client: redis.Redis, sandbox: Running
) -> None:
    """Records sent again after no answer are a possible cause, and still a difference."""
    to = ready(account(sandbox.url))
    deliver(redis_client, to, event(1))
    fill(sandbox, 3)
    redis_client.hset(keys.counters("main"), "event:ambiguous", 3)
    found = reconciled(redis_client, to)
    assert not found.agrees
    assert found.lines[0].difference == 3
    assert "up to 3 were sent again after no answer: duplicates" in found.lines[0].note
    assert "SDK" in found.lines[0].note


def test_reconcile_surplus_names_unconfirmed_dead_letters(
    redis_client: redis.Redis, sandbox: Running
) -> None:
    """An accepted but unconfirmed record is a dead letter here and an event there."""
    to = replace(ready(account(sandbox.url)), ambiguous="dead_letter")
    deliver(redis_client, to, event(1))
    sandbox.state.faults.add({"kind": "drop", "times": 1})
    deliver(redis_client, to, event(2))
    (line,) = reconciled(redis_client, to).differences
    assert (line.delivered, line.difference) == (1, 1)
    assert "up to 1 failed as ambiguous or unconfirmed, but may have arrived" in line.note
    Replayer(redis_client, to).replay(DeadLetters(redis_client, to).select(), lambda *_: None)
    deliver(redis_client, to, event(3))
    (line,) = reconciled(redis_client, to).differences
    assert (line.delivered, line.difference) == (3, 1)
    assert "twice if they were replayed" in line.note


def test_reconcile_during_deliveries_accepts_a_range(
    redis_client: redis.Redis, vendor: LoopbackVendor
) -> None:
    """The vendor's count may lie between our readings before and after it."""
    to = account(vendor.base_url)
    redis_client.hset(keys.tally("main", DAY), NAME, 10)
    redis_client.expire(keys.tally("main", DAY), 35 * 86400)

    def answer_after_a_delivery(exchange: Any) -> None:
        redis_client.hincrby(keys.tally("main", DAY), NAME, 5)
        says({"status": "success", "count": 12})(exchange)

    vendor.script(answer_after_a_delivery)
    (line,) = reconciled(redis_client, to).lines
    assert (line.agrees, line.delivered) == (True, 12)


def test_reconcile_failed_count_does_not_agree(
    redis_client: redis.Redis, vendor: LoopbackVendor
) -> None:
    """One failed count is a line with its reason; if all fail, that is an error."""
    to = account(vendor.base_url)
    redis_client.hset(keys.tally("main", DAY), mapping={"Good": 1, "Odd": 1})
    redis_client.expire(keys.tally("main", DAY), 35 * 86400)
    vendor.usual = says({"status": "success", "count": 1})
    vendor.script(says({"status": "fail", "error": "Invalid event", "code": 400}, 400))
    found = reconciled(redis_client, to)
    assert not found.agrees
    (line,) = found.differences
    assert (line.counted, line.difference) == (None, 0)
    assert "Invalid event" in line.note
    vendor.usual = says({"status": "fail", "error": "Invalid event", "code": 400}, 400)
    with pytest.raises(VendorError, match="Invalid event"):
        reconciled(redis_client, to)


def test_last_reconciliation_is_kept_35_days(redis_client: redis.Redis, sandbox: Running) -> None:
    """The last result of each day is stored as long as the delivered counts."""
    to = ready(account(sandbox.url))
    deliver(redis_client, to, event(1))
    found = reconciled(redis_client, to)
    stored = orjson.loads(redis_client.get(keys.reconciled("main", DAY)) or b"")
    (line,) = stored["lines"]
    assert stored["checked_at"] == found.checked_at
    assert EventComparison(**line | {"spellings": tuple(line["spellings"])}) == found.lines[0]
    assert 0 < redis_client.ttl(keys.reconciled("main", DAY)) <= KEPT_S
    assert redis_client.get(keys.reconciled("main", YESTERDAY)) is None


def test_delivered_days_lists_recent_ones(redis_client: redis.Redis) -> None:
    """Days without recent deliveries are left out, and so is the day of unknown times."""
    to = account("http://127.0.0.1:9")
    for day, age in (("20240101", 8), ("20240102", 6), ("00000000", 0), (DAY, 0)):
        redis_client.hset(keys.tally("main", day), NAME, 1)
        redis_client.expire(keys.tally("main", day), (35 - age) * 86400)
    redis_client.hset(keys.tally("main2", "20240103"), NAME, 1)
    assert delivered_days(redis_client, to, 7) == ["20240102", DAY]
    assert delivered_days(redis_client, to, 35) == ["20240101", "20240102", DAY]


def test_reconcile_command_without_deliveries_agrees(redis_url: str, sandbox: Running) -> None:
    """The command says that there is nothing to compare."""
    done = ingest(sandbox, redis_url)
    assert (done.returncode, done.stdout) == (0, "clevertap: nothing delivered to compare\n")
