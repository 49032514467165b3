"""A kind that the configuration no longer names, and of which Redis still has records."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from support import fault_scripts
from support.pipeline import Pipeline, PipelineFactory
from support.scrape import Scrape
from support.vendor import LoopbackVendor
from worker.buffer.buffer import Buffer
from worker.dead_letters.letters import DeadLetters
from worker.dead_letters.replay import NotReplayed, Replayer
from worker.monitoring.metrics.collector import MetricsPage
from worker.monitoring.overview import Overview
from worker.settings.destination import KindSettings
from worker.settings.settings import Settings
from worker.vendors.protocol import Kind
from worker.vendors.secret import Secret

EVENTS_ALONE = """
[destinations.main]
vendor = "clevertap"
enabled = true
account_id = "${CLEVERTAP_ACCOUNT_ID}"
passcode = "${CLEVERTAP_PASSCODE}"

[destinations.main.kinds.event]
batch_records = 1000
"""


@pytest.fixture
def settings(tmp_path: Path, redis_url: str) -> Settings:
    """Those of a destinations file that names events alone."""
    path = tmp_path / "destinations.toml"
    path.write_text(EVENTS_ALONE)
    secrets = {"CLEVERTAP_ACCOUNT_ID": "id", "CLEVERTAP_PASSCODE": "code"}
    environ = {"INGEST_DESTINATIONS": str(path), "REDIS_URL": redis_url, **secrets}
    return Settings.from_env(environ)


@pytest.fixture
def seen(settings: Settings, redis_client: redis.Redis) -> Callable[[], Buffer]:
    """What an operator looks at."""
    return lambda: Overview.of(settings, redis_client).buffers["main"]


def test_removed_kind_delivers_claimed_batches(
    pipeline_of: PipelineFactory, vendor: LoopbackVendor
) -> None:
    """A batch that waits for a retry is sent once, in order, and settled by its response."""
    before = pipeline_of()
    before.accept_profiles(["ann", "bob", "ann"])
    vendor.script(fault_scripts.status(503))
    before.step()
    after = pipeline_of(kinds={Kind.EVENT: KindSettings(1000)})
    after.buffer.resume()
    vendor.prescribe("ann", 555)
    after.step()
    before.deliver()
    places = before.status().kinds[Kind.PROFILE]
    assert (places.totals["delivered"], places.dead) == (3, 0)
    assert vendor.taken == {"ann": 3, "bob": 1}  # the younger of hers went behind the older again
    assert places.totals["ambiguous"] == 1


def test_removed_kind_stays_visible(
    pipeline: Pipeline, seen: Callable[[], Buffer], settings: Settings
) -> None:
    """Status and metrics show its records, without a batch limit, since it gets no new batches."""
    assert Kind.PROFILE not in seen().status().kinds
    pipeline.accept_profiles(["ann", "bob"])
    places = seen().status().kinds[Kind.PROFILE]
    assert (places.buffered, places.adds_up) == (2, True)
    page = MetricsPage(settings, Secret(""))
    scrape = Scrape.of(page.text().decode())
    assert scrape.value("ingest_records", kind=Kind.PROFILE, place="buffered") == 2
    limits = {each["kind"] for each in scrape.labels("ingest_batch_limit_records")}
    assert limits == {Kind.EVENT}


def test_removed_kind_allows_purge_but_not_replay(
    pipeline: Pipeline, vendor: LoopbackVendor, seen: Callable[[], Buffer]
) -> None:
    """They are listed and stay: replayed records would not be delivered."""
    pipeline.accept_profiles(["ann", "bob"])
    vendor.prescribe("ann", 515)
    vendor.prescribe("bob", 515)
    pipeline.step()
    letters = DeadLetters(pipeline.client, seen().destination)
    kept: list[NotReplayed] = []
    replays = Replayer(pipeline.client, seen().destination)
    assert replays.replay(letters.select(), kept.append) == 0
    assert [list(each.errors) for each in kept] == [["kind"], ["kind"]]
    assert letters.select().purge() == 2
    assert seen().status().kinds[Kind.PROFILE].totals["purged"] == 2
