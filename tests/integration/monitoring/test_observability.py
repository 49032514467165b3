"""The alerts and the dashboard, asked of a real Prometheus that scrapes a real gateway."""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml

from support.busy_destination import NAME
from support.commands import CREDENTIALS
from support.environment import ROOT
from support.gateway import GatewayProcessFactory
from support.observing import CONFIG, PrometheusFactory, alerts, dashboard_queries
from support.pipeline import Pipeline
from support.polling import poll_until


def checked(promtool: Path, *arguments: str) -> str:
    """Return promtool's output about our files; fail when it finds an error."""
    done = subprocess.run(
        [str(promtool), *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_accepts_configuration_and_rules(promtool: Path) -> None:
    """Promtool finds no error."""
    assert "SUCCESS" in checked(promtool, "check", "config", str(CONFIG / "prometheus.yml"))
    found = checked(promtool, "check", "rules", str(CONFIG / "alerts.yml"))
    assert f"{len(alerts())} rules found" in found


def test_each_alert_fires_on_its_series_and_not_on_healthy_ones(promtool: Path) -> None:
    """On test series each alert fires with its text, and none does in a healthy system."""
    checked(promtool, "test", "rules", "tests/data/alerts_test.yml")


def test_every_panel_and_alert_finds_series(
    busy_destination: Pipeline,
    redis_url: str,
    start_gateway: GatewayProcessFactory,
    prometheus_at: PrometheusFactory,
) -> None:
    """After everything has happened once, each panel has series and each alert can be evaluated."""
    gateway = start_gateway(redis_url, **CREDENTIALS)
    prometheus = prometheus_at(gateway.port)
    assert float(prometheus.query('up{job="ingest"}')[0]["value"][1]) == 1
    for title, query in dashboard_queries():
        assert prometheus.query(query), (title, query)
    groups = prometheus.ask("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert {rule["name"] for rule in rules} == {rule["alert"] for rule in alerts()}

    def parked() -> bool:
        pending = prometheus.ask("alerts")["alerts"]
        return {"IngestParked"} <= {
            each["labels"]["alertname"]
            for each in pending
            if each["labels"].get("destination") == NAME
        }

    poll_until(parked, what="the alert of the parked destination is pending")
    healths = {rule["health"] for rule in rules}
    assert healths <= {"ok", "unknown"}


def test_kubernetes_manifests_scrape_with_the_token_and_scale(
    busy_destination: Pipeline,
    redis_url: str,
    start_gateway: GatewayProcessFactory,
    prometheus_at: PrometheusFactory,
    tmp_path: Path,
) -> None:
    """Gateway and Prometheus have the Secret's file with the token, as in the manifests: the scrape
    succeeds, and KEDA's query has a number, of running destinations alone."""
    token = tmp_path / "INGEST_METRICS_TOKEN"
    token.write_text("m3trics-token")
    gateway = start_gateway(redis_url, **CREDENTIALS, INGEST_METRICS_TOKEN_FILE=str(token))
    prometheus = prometheus_at(gateway.port, token)
    assert float(prometheus.query('up{job="ingest"}')[0]["value"][1]) == 1
    scaled = yaml.safe_load((ROOT / "deploy" / "kubernetes" / "scaling.yaml").read_text())
    (trigger,) = scaled["spec"]["triggers"]
    query = trigger["metadata"]["query"]
    assert [float(each["value"][1]) for each in prometheus.query(query)] == [0]  # it is parked
    busy_destination.buffer.resume()
    status = busy_destination.status()
    buffered = sum(places.buffered for places in status.kinds.values())
    assert buffered > 0

    def read() -> bool:
        return [float(each["value"][1]) for each in prometheus.query(query)] == [buffered]

    poll_until(read, what="Prometheus has read what is buffered")
