"""What Prometheus and Grafana are given: the queries in config/, and a real Prometheus to ask."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest
import yaml

from support.environment import ROOT, environment
from support.polling import poll_until
from support.ports import find_free_port
from support.processes import Processes
from support.services import require

CONFIG = ROOT / "config"
MISSING = "no {} on the PATH: install Debian's package prometheus to run the tests of its rules"


def alerts() -> list[dict[str, Any]]:
    """The alert rules."""
    groups = yaml.safe_load((CONFIG / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    """Grafana's dashboard."""
    found: dict[str, Any] = json.loads((CONFIG / "grafana" / "dashboard.json").read_text())
    return found


def dashboard_queries() -> Iterator[tuple[str, str]]:
    """Each panel's title and query, with Grafana's variables filled in."""
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            filled = target["expr"].replace("$destination", ".*")
            yield panel["title"], filled.replace("$__rate_interval", "1m")


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A Prometheus on loopback that has scraped."""

    url: str

    def ask(self, path: str, **parameters: str) -> Any:
        """The data of an answer of its API; fails when it is an error."""
        answer = httpx.get(
            f"{self.url}/api/v1/{path}", params=parameters, timeout=60, trust_env=False
        )
        answered = answer.json()
        assert answered["status"] == "success", answered
        return answered["data"]

    def query(self, expression: str) -> list[Mapping[str, Any]]:
        """The series that an expression gives now."""
        found: list[Mapping[str, Any]] = self.ask("query", query=expression)["result"]
        return found


class PrometheusFactory(Protocol):
    """Starts a Prometheus; see `prometheus_at`."""

    def __call__(self, target: int, token: Path | None = None) -> Prometheus: ...


@pytest.fixture
def promtool() -> Path:
    """Prometheus' checker of configurations and rules."""
    return require(shutil.which("promtool"), MISSING.format("promtool"))


@pytest.fixture
def prometheus_at(processes: Processes, tmp_path: Path) -> PrometheusFactory:
    """Starts a Prometheus with our configuration, but for a target on a port of this machine and
    quick scrapes; waits until it has scraped it three times. A ``token`` is a file with one: then
    the lines of our configuration that are for it are put in force."""
    program = require(shutil.which("prometheus"), MISSING.format("prometheus"))

    def start(target: int, token: Path | None = None) -> Prometheus:
        text = (CONFIG / "prometheus.yml").read_text()
        if token:
            text = re.sub(
                r"# (authorization:\n    )# ( +credentials_file: ).*", rf"\1\2{token}", text
            )
            assert str(token) in text
        text = text.replace('"127.0.0.1:9108"', f'"127.0.0.1:{target}"')
        text = re.sub(
            r"(scrape_interval|scrape_timeout|evaluation_interval): \d+s", r"\1: 1s", text
        )
        (tmp_path / "prometheus.yml").write_text(text)
        shutil.copy(CONFIG / "alerts.yml", tmp_path)
        port = find_free_port()
        listen = f"--web.listen-address=127.0.0.1:{port}"
        options = [
            f"--config.file={tmp_path}/prometheus.yml",
            f"--storage.tsdb.path={tmp_path}/data",
        ]
        processes.run([str(program), listen, *options], env=environment({}), name="prometheus")
        made = Prometheus(f"http://127.0.0.1:{port}")
        poll_until(lambda: _scraped(made), what="Prometheus has scraped three times", every_s=0.2)
        return made

    return start


def _scraped(prometheus: Prometheus) -> bool:
    try:
        found = prometheus.query('sum_over_time(up{job="ingest"}[1m])')
    except (httpx.TransportError, ValueError):
        return False
    return bool(found) and float(found[0]["value"][1]) >= 3
