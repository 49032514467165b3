"""The samples of one scrape: declared metrics only, and totals that do not fall slightly."""

from __future__ import annotations

import pytest

from worker.monitoring.metrics.collector import MetricsPage, Monotonic, ScrapeResult
from worker.monitoring.metrics.definitions import RECORDS, TICKS, Metric
from worker.settings.settings import Settings
from worker.vendors.secret import Secret

KEY = ("ingest_ticks_total", "main")


def test_upward_of_a_total_that_fell_slightly_keeps_it_until_it_catches_up() -> None:
    """A Redis that lost its last second must not look like a restart from zero."""
    monotonic = Monotonic()
    seen = [monotonic.upward(KEY, (total,)) for total in (100.0, 98.0, 99.0, 101.0)]
    assert seen == [(100.0,), (100.0,), (100.0,), (101.0,)]


def test_upward_of_a_total_that_was_reset_follows_it() -> None:
    """A Redis that was emptied begins again."""
    monotonic = Monotonic()
    assert monotonic.upward(KEY, (100.0,)) == (100.0,)
    assert monotonic.upward(KEY, (1.0,)) == (1.0,)


def test_upward_of_a_histogram_keeps_its_numbers_together() -> None:
    """Sum and buckets are kept, or replaced, as one; the last bucket decides."""
    monotonic = Monotonic()
    assert monotonic.upward(KEY, (5.0, 3.0, 10.0)) == (5.0, 3.0, 10.0)
    assert monotonic.upward(KEY, (6.0, 4.0, 9.0)) == (5.0, 3.0, 10.0)
    assert monotonic.upward(("other",), (1.0,)) == (1.0,)


def test_scrape_result_refuses_an_undeclared_metric_or_other_labels() -> None:
    """A metric that is not in the table, or has other labels, is refused where it is put."""
    result = ScrapeResult(Monotonic())
    with pytest.raises(KeyError):
        result.put(Metric("ingest_other", "gauge", "Not declared."), 1)
    with pytest.raises(ValueError, match="ingest_records"):
        result.put(RECORDS, 1, "main")
    with pytest.raises(ValueError, match="ingest_ticks_total"):
        result.put_histogram(TICKS, [], 0, "main")


def refusal(token: str, address: str, **headers: str) -> int:
    """Return the status that a client with these headers is refused with, or 0."""
    settings = Settings.from_env({"REDIS_URL": "redis://127.0.0.1:1/0"})
    page = MetricsPage(settings, Secret(token))
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return page.refusal(address, lambda name: named.get(name, ""))


@pytest.mark.parametrize(
    ("address", "headers", "status"),
    [
        ("127.0.0.1", {}, 0),
        ("::1", {}, 0),
        ("192.0.2.1", {}, 403),
        ("no address", {}, 403),
        ("127.0.0.1", {"x_forwarded_for": "127.0.0.1"}, 403),
        ("127.0.0.1", {"forwarded": "for=192.0.2.1"}, 403),
    ],
)
def test_refusal_without_a_token_admits_this_machine_only(
    address: str, headers: dict[str, str], status: int
) -> None:
    """A client that came through a proxy is not on this machine."""
    assert refusal("", address, **headers) == status


@pytest.mark.parametrize(
    ("shown", "status"),
    [
        ("Bearer secret", 0),
        ("bearer  secret ", 0),
        ("Bearer other", 401),
        ("secret", 401),
        ("", 401),
    ],
)
def test_refusal_with_a_token_admits_those_who_show_it(shown: str, status: int) -> None:
    """From anywhere, also through a proxy."""
    assert refusal("secret", "192.0.2.1", authorization=shown, via="1.1 proxy") == status
