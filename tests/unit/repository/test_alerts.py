"""Alerts and dashboard use declared metrics, and every alert has a runbook."""

from __future__ import annotations

import re

import pytest
import yaml

from support.environment import ROOT
from support.observing import alerts, dashboard, dashboard_queries
from support.repository import anchors
from worker.cli import COMMANDS
from worker.monitoring.metrics.definitions import METRICS

OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
NAMES = [rule["alert"] for rule in alerts()]
DECLARED = {name: set(metric.labels) for metric in METRICS for name in metric.samples}
QUERIES = [
    *((rule["alert"], rule["expr"]) for rule in alerts()),
    *dashboard_queries(),
]
# Metrics of Prometheus itself.
OTHERS = {"up": {"job", "instance"}}


@pytest.mark.parametrize("rule", alerts(), ids=NAMES)
def test_alert_has_severity_summary_and_runbook(rule: dict[str, dict[str, str]]) -> None:
    """Each alert links to a heading of docs/operations.md with a command to type."""
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"]["summary"].endswith(".")
    path, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert path == "docs/operations.md"
    assert anchor in anchors(OPERATIONS)
    section = OPERATIONS.partition(f"### {rule['alert']}\n")[2].partition("\n###")[0]
    assert len(re.findall(r"^    \S", section, re.MULTILINE)) >= 1


def test_runbooks_match_the_alerts() -> None:
    """Each alert has one runbook section, and no section is left without an alert."""
    sections = re.findall(r"^### (Ingest\w+)$", OPERATIONS, re.MULTILINE)
    assert sorted(sections) == sorted(NAMES)
    assert len(set(NAMES)) == len(NAMES)


def test_runbook_commands_exist() -> None:
    """Each `ingest` command in a runbook is one of the menu."""
    typed = re.findall(r"(?:^    |&& )ingest ([\w-]+)", OPERATIONS, re.MULTILINE)
    assert typed
    assert set(typed) <= set(COMMANDS)


@pytest.mark.parametrize(("name", "query"), QUERIES)
def test_query_uses_declared_metrics_and_labels(name: str, query: str) -> None:
    """Each metric is declared, and each label in a query belongs to its metric."""
    known = {**DECLARED, **OTHERS}
    for metric, selected in re.findall(r"\b(ingest_\w+|up)\b(?:\{([^}]*)\})?", query):
        assert metric in known, name
        asked = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selected))
        assert asked <= known[metric], (name, metric)
    grouped = {
        label.strip()
        for labels in re.findall(r"\b(?:by|on|ignoring|without)\s*\(([^)]*)\)", query)
        for label in labels.split(",")
    }
    used = [known[each] for each in re.findall(r"\b(ingest_\w+|up)\b", query)]
    assert grouped <= {"le"}.union(*used), name


def test_metrics_are_all_used_in_a_query() -> None:
    """Each declared metric is in an alert or on the dashboard."""
    asked = " ".join(query for _, query in QUERIES)
    unseen = [each.name for each in METRICS if not any(name in asked for name in each.samples)]
    assert unseen == []


def test_alerts_all_fire_in_their_test() -> None:
    """tests/data/alerts_test.yml contains each alert once firing and once quiet."""
    cases = yaml.safe_load((ROOT / "tests" / "data" / "alerts_test.yml").read_text())["tests"]
    asked = [each for case in cases for each in case["alert_rule_test"]]
    assert {each["alertname"] for each in asked if each.get("exp_alerts")} == set(NAMES)
    assert {each["alertname"] for each in asked if not each.get("exp_alerts")} == set(NAMES)


def test_dashboard_panels_are_distinct_and_use_the_chosen_datasource() -> None:
    """Panels have their own ids and places, and query the selected Prometheus."""
    found = dashboard()
    panels = found["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (column, row)
        for at in (panel["gridPos"] for panel in panels)
        for column in range(at["x"], at["x"] + at["w"])
        for row in range(at["y"], at["y"] + at["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(column for column, _ in cells) < 24
    assert {panel["datasource"]["uid"] for panel in panels} == {"${datasource}"}
    assert [each["name"] for each in found["templating"]["list"]] == ["datasource", "destination"]
