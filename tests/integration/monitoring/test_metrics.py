"""Metrics are what Redis holds: complete, declared, the same everywhere, and guarded."""

from __future__ import annotations

import itertools
from pathlib import Path

import httpx
import redis

from support.busy_destination import NAME
from support.commands import CREDENTIALS, Cli
from support.environment import ROOT
from support.gateway import GatewayResponse, LocalGateway, LocalGatewayFactory, request_app
from support.pipeline import Pipeline, PipelineFactory, identities
from support.ports import find_free_port
from support.redis_servers import RedisFactory
from support.scrape import Scrape
from worker.buffer import keys
from worker.buffer.claims import Settle
from worker.buffer.status import TOTALS
from worker.monitoring.metrics.collector import MetricsPage, StatusCollector
from worker.monitoring.metrics.definitions import METRICS, PLACES
from worker.settings.settings import Settings
from worker.vendors.protocol import Outcome, Verdict
from worker.vendors.secret import Secret

TOKEN = "m3trics-token"
# What is 0 in a healthy system, and is shown all the same.
MAY_BE_ZERO = {
    "ingest_last_reconcile_timestamp_seconds",
    "ingest_memory_full",
    "ingest_reconcile_missing_records",
}


def page_of(url: str, token: str = "", **environ: str) -> MetricsPage:
    """Make the page of a process with this Redis."""
    settings = Settings.from_env({"REDIS_URL": url, **CREDENTIALS, **environ})
    return MetricsPage(settings, Secret(token))


def scrape(url: str, **environ: str) -> Scrape:
    """Scrape a process with this Redis."""
    return Scrape.of(page_of(url, **environ).text().decode())


def test_scrape_has_every_declared_metric(busy_destination: Pipeline, redis_url: str) -> None:
    """After everything has happened once, each metric has samples, with exactly its labels."""
    scraped = scrape(redis_url)
    for metric in METRICS:
        for name in metric.samples:
            labels = scraped.labels(name)
            assert labels, name
            also = {"le"} if name.endswith("_bucket") else set()
            assert {frozenset(each) for each in labels} == {frozenset({*metric.labels, *also})}
        values = [each.value for each in scraped.samples if each.name in metric.samples]
        assert any(values) or metric.name in MAY_BE_ZERO, metric.name
    assert scraped.names == {name for metric in METRICS for name in metric.samples}


def test_scrape_has_the_numbers_of_the_status(busy_destination: Pipeline, redis_url: str) -> None:
    """Places and totals are the buffer's own, kind by kind."""
    scraped, status = scrape(redis_url), busy_destination.status()
    words = {"attempts": "requests", **{name: f"records_{name}" for name in TOTALS[:-1]}}
    for kind, places in status.kinds.items():
        for place in PLACES:
            found = scraped.value("ingest_records", destination=NAME, kind=kind, place=place)
            assert found == getattr(places, place)
        for total in TOTALS:
            found = scraped.value(f"ingest_{words[total]}_total", destination=NAME, kind=kind)
            assert found == places.totals[total], total
    for answer, count in status.answers.items():
        assert scraped.value("ingest_answers_total", destination=NAME, answer=answer) == count
    assert scraped.value("ingest_destination_state", destination=NAME, state="parked") == 1
    assert scraped.value("ingest_destination_state", destination=NAME, state="running") == 0
    assert scraped.value("ingest_dead_letters_total", kind="event", code="513") == 6
    assert scraped.value("ingest_leases_expired_total", phase="begun") == 1
    assert scraped.value("ingest_leases_expired_total", phase="waiting") == 1


def test_histograms_hold_each_request_once(busy_destination: Pipeline, redis_url: str) -> None:
    """They hold every request but those of dead workers, and every record in them."""
    scraped = scrape(redis_url)
    lost = scraped.value("ingest_answers_total", answer="worker_lost")
    counts = {"destination": NAME, "kind": "event"}
    made = sum(
        scraped.value("ingest_requests_total", destination=NAME, kind=kind) for kind in KINDS
    )
    timed = sum(scraped.value("ingest_request_duration_seconds_count", kind=kind) for kind in KINDS)
    assert timed == made - lost
    assert scraped.value("ingest_batch_records_sum", **counts) >= 40  # twenty, sent twice
    assert scraped.value("ingest_batch_records_bucket", **counts, le="10") < scraped.value(
        "ingest_batch_records_bucket", **counts, le="25"
    )
    whole = scraped.value("ingest_request_duration_seconds_bucket", **counts, le="+Inf")
    assert whole == scraped.value("ingest_request_duration_seconds_count", **counts)


KINDS = ("event", "profile")


def test_totals_that_fall_slightly_are_kept(
    busy_destination: Pipeline, redis_client: redis.Redis, redis_url: str
) -> None:
    """A Redis that lost its last moment lowers no total and no histogram; one that was emptied
    starts from zero, and totals that have caught up rise again."""
    counters, field = keys.counters(NAME), "event:accepted"
    settings = Settings.from_env({"REDIS_URL": redis_url, **CREDENTIALS})
    ever_later = itertools.count(step=10.0).__next__
    page = MetricsPage(settings, Secret(""), clock=ever_later)
    before = Scrape.of(page.text().decode())
    accepted = before.value("ingest_records_accepted_total", destination=NAME, kind="event")
    redis_client.hincrby(counters, field, -2)
    for name in redis_client.hkeys(counters):
        if b":took:" in name or b":size:" in name:
            redis_client.hincrby(counters, name, -1)
            break
    scraped = Scrape.of(page.text().decode())
    for sample in before.samples:
        if sample.name.endswith(("_total", "_bucket", "_sum", "_count")):
            assert scraped.value(sample.name, **sample.labels) >= sample.value, sample
    redis_client.hincrby(counters, field, 5)
    scraped = Scrape.of(page.text().decode())
    assert scraped.value("ingest_records_accepted_total", kind="event") == accepted + 3
    redis_client.hset(counters, field, 1)
    scraped = Scrape.of(page.text().decode())
    assert scraped.value("ingest_records_accepted_total", kind="event") == 1


def test_scrape_has_the_last_reconciliation(busy_destination: Pipeline, redis_url: str) -> None:
    """When the vendor's counts were compared, and how many events were missing."""
    busy_destination.buffer.record_reconciliation(1_700_000_000_000, 12)
    scraped = scrape(redis_url)
    assert scraped.value("ingest_last_reconcile_timestamp_seconds", destination=NAME) == 1.7e9
    assert scraped.value("ingest_reconcile_missing_records", destination=NAME) == 12


def test_codes_beyond_the_limit_are_counted_as_other(
    pipeline_of: PipelineFactory, redis_url: str
) -> None:
    """A vendor that numbers its failures makes some hundreds of series and no more; the rest is
    `other`, and nothing is uncounted."""
    made = pipeline_of(name=NAME, enabled=True, flood_share=1.0)
    for first in range(10_000, 12_000, 500):
        made.accept(identities(500, str(first)))
        claim = made.buffer.claim(begun=True)
        assert claim
        died = [Verdict(Outcome.DEAD, "refused", first + at, "no") for at in range(claim.size)]
        usual = Verdict(Outcome.RETRY)
        made.buffer.finish(claim, Settle(usual, tuple(enumerate(died, 1))), "200", took_s=0.1)
    scraped = scrape(redis_url)
    codes = scraped.labels("ingest_dead_letters_total")
    assert 300 < len(codes) <= 500
    assert scraped.value("ingest_dead_letters_total", code="other") > 1000
    counted = [each.value for each in scraped.samples if each.name == "ingest_dead_letters_total"]
    assert sum(counted) == 2000
    assert sum(counted) == scraped.value("ingest_records_dead_lettered_total", kind="event")


def test_scrape_of_a_new_installation_has_zeros(redis_url: str) -> None:
    """Totals exist before anything was counted, so that the first one is seen to rise."""
    scraped = scrape(redis_url)
    assert scraped.value("ingest_records_dead_lettered_total", destination=NAME, kind="event") == 0
    assert scraped.value("ingest_leases_expired_total", destination=NAME, phase="begun") == 0
    assert scraped.value("ingest_last_tick_timestamp_seconds", destination=NAME) == 0
    assert scraped.value("ingest_destination_state", destination=NAME, state="running") == 1


def test_scrape_includes_a_destination_that_is_no_longer_configured(
    busy_destination: Pipeline, redis_url: str
) -> None:
    """Its records stay visible."""
    other = {"INGEST_DESTINATIONS": str(DATA / "one_destination.toml")}
    scraped = scrape(redis_url, **other)
    found = scraped.value("ingest_records", destination=NAME, kind="event", place="buffered")
    assert found == busy_destination.events.buffered > 0
    assert scraped.value("ingest_last_tick_timestamp_seconds", destination=NAME) > 0
    assert {"destination": NAME} not in scraped.labels("ingest_buffer_limit_records")


def test_a_disabled_destination_raises_no_alarm(
    pipeline_of: PipelineFactory, redis_url: str
) -> None:
    """Paused, with missing events, and without its secrets since: its totals remain, and nothing
    that an alert would wait for in vain. Records that wait in it are another matter."""
    made = pipeline_of(name=NAME, enabled=True)
    made.buffer.record_reconciliation(1_700_000_000_000, 12)
    made.buffer.pause("moved to another account")
    off = {"CLEVERTAP_ACCOUNT_ID": "", "CLEVERTAP_PASSCODE": ""}
    made.accept(identities(1))
    waits = scrape(redis_url, **off)
    assert waits.value("ingest_destination_state", destination=NAME, state="paused") == 1
    assert waits.value("ingest_last_tick_timestamp_seconds", destination=NAME) == 0
    made.buffer.resume()
    claim = made.buffer.claim(begun=True)
    assert claim
    made.buffer.finish(claim, Settle(Verdict(Outcome.DELIVERED)), "200", took_s=0.1)
    made.buffer.pause("moved to another account")
    scraped = scrape(redis_url, **off)
    assert scraped.value("ingest_records_delivered_total", destination=NAME, kind="event") == 1
    silent = ("destination_state", "last_tick_timestamp_seconds", "ticks_total")
    for name in (*silent, "last_reconcile_timestamp_seconds", "reconcile_missing_records"):
        assert scraped.labels(f"ingest_{name}") == [], name


DATA = ROOT / "tests" / "data"


def test_scrape_scans_a_part_of_redis(
    busy_destination: Pipeline, redis_client: redis.Redis, redis_url: str
) -> None:
    """Among 100,000 other keys a scrape scans 20,000 at most; an unconfigured destination is found
    by one of the next, and included from then on."""
    for first in range(0, 100_000, 10_000):
        redis_client.mset({f"other:{each}": "" for each in range(first, first + 10_000)})
    environ = {"REDIS_URL": redis_url, "INGEST_DESTINATIONS": str(DATA / "one_destination.toml")}
    collector = StatusCollector(Settings.from_env(environ), redis_client)
    scraped: list[bool] = []
    for _ in range(12):
        redis_client.config_resetstat()
        samples = [sample for family in collector.collect() for sample in family.samples]
        scraped.append(any(sample.labels.get("destination") == NAME for sample in samples))
        counted = redis_client.info("commandstats").get("cmdstat_scan", {"calls": 0})
        assert counted["calls"] <= 20
    assert scraped.index(True) <= 6
    assert all(scraped[6:])


def test_scrape_without_redis_says_so(redis_factory: RedisFactory) -> None:
    """The scrape succeeds, without the numbers of before."""
    server = redis_factory()
    url = server.url
    page = page_of(url)
    assert Scrape.of(page.text().decode()).value("ingest_redis_up") == 1
    server.stop()
    scraped = scrape(url)
    assert scraped.value("ingest_redis_up") == 0
    assert scraped.names == {"ingest_redis_up", "ingest_tick_interval_seconds"}


def test_many_scrapes_read_redis_once_a_second(busy_destination: Pipeline, redis_url: str) -> None:
    """Within a second Redis is read once; after it, again."""
    now = [0.0]
    settings = Settings.from_env({"REDIS_URL": redis_url, **CREDENTIALS})
    page = MetricsPage(settings, Secret(""), clock=lambda: now[0])
    first = page.text()
    busy_destination.buffer.tick()
    assert page.text() is first
    now[0] = 1.0
    value = Scrape.of(page.text().decode()).value("ingest_ticks_total", destination=NAME)
    assert value == Scrape.of(first.decode()).value("ingest_ticks_total", destination=NAME) + 1


async def asked(gateway: LocalGateway, **headers: str) -> GatewayResponse:
    """A reader on this machine, with these headers."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await request_app(gateway.app, "GET", "/metrics", headers=named)


def test_gateway_without_a_token_shows_metrics_to_this_machine(
    busy_destination: Pipeline, gateway_factory: LocalGatewayFactory
) -> None:
    """Without a token a program on this machine may read, but not through a proxy."""
    gateway = gateway_factory(**CREDENTIALS)
    answer = gateway.run(asked)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert Scrape.of(answer.body.decode()).value("ingest_redis_up") == 1
    assert gateway.run(lambda gateway: asked(gateway, X_Forwarded_For="127.0.0.1")).status == 403


def test_gateway_with_a_token_requires_it(
    busy_destination: Pipeline, gateway_factory: LocalGatewayFactory, tmp_path: Path
) -> None:
    """With a token, which may come from a file, only clients that show it may read."""
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    for given in ({"INGEST_METRICS_TOKEN": TOKEN}, {"INGEST_METRICS_TOKEN_FILE": str(file)}):
        gateway = gateway_factory(**CREDENTIALS, **given)
        assert gateway.run(asked).status == 401
        assert (
            gateway.run(lambda gateway: asked(gateway, Authorization="Bearer other")).status == 401
        )
        right = {"Authorization": f"Bearer {TOKEN}", "X_Forwarded_For": "192.0.2.1"}
        assert gateway.run(lambda gateway, right=right: asked(gateway, **right)).status == 200  # type: ignore[misc] # mypy takes no defaults here


def test_metrics_command_prints_one_scrape(busy_destination: Pipeline, redis_url: str) -> None:
    """`ingest metrics` writes a scrape to standard output and ends."""
    done = Cli({"REDIS_URL": redis_url, **CREDENTIALS})("metrics")
    assert done.returncode == 0
    assert Scrape.of(done.stdout).value("ingest_redis_up") == 1


def test_metrics_command_with_a_port_serves_scrapes(
    redis_client: redis.Redis, redis_url: str
) -> None:
    """`ingest metrics --port` answers scrapes until it is stopped, and requires the token."""
    cli, port = Cli({"REDIS_URL": redis_url, **CREDENTIALS}), find_free_port()
    with cli.begin("metrics", "--port", str(port), INGEST_METRICS_TOKEN=TOKEN) as begun:
        url = f"http://127.0.0.1:{port}/metrics"
        assert begun.stderr.readline() == f"metrics: {url}\n"
        assert httpx.get(url, timeout=60, trust_env=False).status_code == 401
        other = httpx.get(f"http://127.0.0.1:{port}/", timeout=60, trust_env=False)
        assert other.status_code == 404
        headers = {"Authorization": f"Bearer {TOKEN}"}
        text = httpx.get(url, headers=headers, timeout=60, trust_env=False).text
        assert Scrape.of(text).value("ingest_redis_up") == 1
        begun.process.terminate()
        assert begun.process.wait(60) == 0
