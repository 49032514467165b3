"""The declared metrics: conventional names, and documented line by line."""

from __future__ import annotations

import re

from support.environment import ROOT
from worker.monitoring.metrics.definitions import METRICS


def test_metric_names_follow_the_conventions() -> None:
    """Prefix, base units, `_total` on counters only, a help text that is a sentence; each once."""
    for metric in METRICS:
        assert re.fullmatch(r"ingest_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.type == "counter")
        assert not re.search(r"_(ms|milliseconds|minutes|kb|percent)(_|$)", metric.name)
        assert metric.help[0].isupper() or metric.help[0].isdigit()
        assert metric.help.endswith(".")
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def test_docs_list_every_metric() -> None:
    """The table in docs/metrics.md is the declaration, line by line."""
    rows = [
        line
        for line in (ROOT / "docs" / "metrics.md").read_text().splitlines()
        if line.startswith("| `ingest_")
    ]
    assert rows == [
        f"| `{each.name}` | {each.type} | "
        f"{', '.join(f'`{label}`' for label in each.labels)} | {each.help} |"
        for each in METRICS
    ]
