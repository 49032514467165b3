"""The samples of one scrape: declared metrics only, and totals that do not fall slightly."""

from __future__ import annotations

import pytest

from worker.monitoring.metrics.collector import Monotonic, ScrapeResult
from worker.monitoring.metrics.definitions import RECORDS, TICKS, Metric

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
