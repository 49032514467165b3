"""The manifests of deploy/kubernetes agree with the schemas, the Procfile and the settings."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from typing import Any

import kubernetes_validate
import pytest
import yaml

from support.environment import ROOT, is_ours
from support.processes import procfile
from worker.app.process import CLOSE_WITHIN_S, END_WITHIN_S
from worker.gateway.__main__ import STOP_WITHIN_S
from worker.gateway.operations.health import ALIVE, Ready
from worker.gateway.operations.metrics import Metrics
from worker.gateway.settings import MAX_REDIS_TIMEOUT_S

FOLDER = ROOT / "deploy" / "kubernetes"
VERSION = "1.31"  # what most providers have had for a long time
FOREIGN = (
    "kustomize.config.k8s.io",
    "keda.sh",
    "monitoring.coreos.com",
)  # not in Kubernetes' own schemas


def documents() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object, under its file, kind and name."""
    for path in sorted(FOLDER.glob("*.yaml")):
        for each in yaml.safe_load_all(path.read_text()):
            yield f"{path.stem}-{each['kind']}-{each.get('metadata', {}).get('name')}", each


OBJECTS = dict(documents())
DEPLOYMENTS = {
    each["spec"]["template"]["spec"]["containers"][0]["name"]: each
    for each in OBJECTS.values()
    if each["kind"] == "Deployment"
}
SETTINGS = {
    each["metadata"]["name"]: each["data"]
    for each in OBJECTS.values()
    if each["kind"] == "ConfigMap"
}
# The Secrets that docs/kubernetes.md creates, and their keys.
SECRETS = {
    name: set(re.findall(r"--from-file=(\w+)", keys))
    for name, keys in re.findall(
        r"create secret generic (\S+)((?:\s+\\?\s*--from-file=\w+)+)",
        (ROOT / "docs" / "kubernetes.md").read_text(),
    )
}


def pod(name: str) -> dict[str, Any]:
    """The pod specification of a deployment."""
    found: dict[str, Any] = DEPLOYMENTS[name]["spec"]["template"]["spec"]
    return found


def container(name: str) -> dict[str, Any]:
    """Its one container."""
    (found,) = pod(name)["containers"]
    return dict(found)


def environment(name: str) -> dict[str, str]:
    """All variables of a deployment's container."""
    found: dict[str, str] = {}
    for source in container(name)["envFrom"]:
        found |= SETTINGS[source["configMapRef"]["name"]]
    return found | {each["name"]: each["value"] for each in container(name).get("env", [])}


@pytest.mark.parametrize(
    "name", [name for name, each in OBJECTS.items() if not each["apiVersion"].startswith(FOREIGN)]
)
def test_manifest_matches_the_kubernetes_schema(name: str) -> None:
    """No field is unknown, missing or of the wrong type."""
    kubernetes_validate.validate(OBJECTS[name], VERSION, strict=True)


def test_kustomization_lists_all_files() -> None:
    """Each manifest in the folder is listed in kustomization.yaml."""
    listed = OBJECTS["kustomization-Kustomization-None"]["resources"]
    assert sorted([*listed, "kustomization.yaml"]) == sorted(f.name for f in FOLDER.iterdir())


def test_pods_run_the_procfile_commands() -> None:
    """A cluster runs the same commands as every other installation."""
    commands = {name: container(name)["command"] for name in DEPLOYMENTS}
    assert commands == procfile()


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_deployment_selects_its_own_pods(name: str) -> None:
    """Selector, labels and spread agree, so that no deployment counts the pods of another."""
    spec = DEPLOYMENTS[name]["spec"]
    labels = spec["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"] == labels
    assert labels["app.kubernetes.io/component"] == name
    for spread in pod(name).get("topologySpreadConstraints", []):
        assert spread["labelSelector"]["matchLabels"] == labels


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_pod_has_least_privileges(name: str) -> None:
    """No root, no capabilities, a read-only image, no cluster token, a memory limit."""
    assert pod(name)["automountServiceAccountToken"] is False
    assert pod(name)["securityContext"]["runAsNonRoot"] is True
    security = container(name)["securityContext"]
    assert security["readOnlyRootFilesystem"] is True
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert "memory" in container(name)["resources"]["limits"]
    assert "livenessProbe" in container(name)


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_pod_variables_are_documented(name: str) -> None:
    """Each variable, or the one that it names a file for, is in config/example.env."""
    known = (ROOT / "config" / "example.env").read_text()
    for variable in environment(name):
        assert is_ours(variable)
        assert f"{variable.removesuffix('_FILE')}=" in known, variable


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_pod_mounts_exactly_the_secrets_that_its_variables_name(name: str) -> None:
    """Each file that a variable names is mounted from the Secrets that the docs create, and nothing
    else is: a beat has no vendor passcode."""
    mounts = {each["name"]: each["mountPath"] for each in container(name)["volumeMounts"]}
    volumes = {each["name"]: each for each in pod(name)["volumes"]}
    assert mounts.keys() == volumes.keys()
    sources = volumes["secrets"]["projected"]["sources"]
    mounted = set().union(*(SECRETS[each["secret"]["name"]] for each in sources))
    files = {each: value for each, value in environment(name).items() if each.endswith("_FILE")}
    assert files == {f"{key}_FILE": f"{mounts['secrets']}/{key}" for key in mounted}


def test_worker_grace_period_exceeds_its_longest_stop() -> None:
    """The grace period is longer than a worker without any responses takes to exit."""
    assert pod("worker")["terminationGracePeriodSeconds"] > END_WITHIN_S + CLOSE_WITHIN_S


def test_gateway_grace_period_covers_requests_in_flight() -> None:
    """The grace period covers the wait before, requests in flight, and the longest configurable
    Redis timeout."""
    _, waits_s = container("web")["lifecycle"]["preStop"]["exec"]["command"]
    stops_s = STOP_WITHIN_S + 5 * MAX_REDIS_TIMEOUT_S
    assert pod("web")["terminationGracePeriodSeconds"] >= int(waits_s) + stops_s + 3


def test_probes_use_the_heartbeat_and_the_health_paths() -> None:
    """The worker's probes check the file that it touches; the gateway's use its own paths."""
    given = {each["name"]: each["value"] for each in container("worker")["env"]}
    for probe in ("startupProbe", "livenessProbe"):
        assert given["INGEST_HEARTBEAT_PATH"] in " ".join(
            container("worker")[probe]["exec"]["command"]
        )
    web = container("web")
    assert web["livenessProbe"]["httpGet"]["path"] == ALIVE.path
    assert web["readinessProbe"]["httpGet"]["path"] == Ready.path
    port = next(each["value"] for each in web["env"] if each["name"] == "PORT")
    assert web["ports"][0]["containerPort"] == int(port)


def test_monitor_sends_the_token_of_the_gateways() -> None:
    """The monitor selects the gateways' pods and port and reads the Secret key that they have as a
    file; no annotation invites a Prometheus without a token."""
    monitor = OBJECTS["monitoring-PodMonitor-ingest"]["spec"]
    labels = DEPLOYMENTS["web"]["spec"]["template"]["metadata"]["labels"]
    assert monitor["selector"]["matchLabels"] == labels
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert endpoint["port"] in {each["name"] for each in container("web")["ports"]}
    assert endpoint["path"] == Metrics.path
    asked = endpoint["authorization"]["credentials"]
    assert asked["key"] in SECRETS[asked["name"]]
    assert environment("web")["INGEST_METRICS_TOKEN_FILE"].endswith(f"/{asked['key']}")
    for deployment in DEPLOYMENTS.values():
        assert "annotations" not in deployment["spec"]["template"]["metadata"]


def test_alerts_select_the_job_of_the_monitor() -> None:
    """The pod label that names the job matches config/alerts.yml, and the scrape timeout matches
    config/prometheus.yml."""
    monitor = OBJECTS["monitoring-PodMonitor-ingest"]["spec"]
    job = DEPLOYMENTS["web"]["spec"]["template"]["metadata"]["labels"][monitor["jobLabel"]]
    alerts = (ROOT / "config" / "alerts.yml").read_text()
    assert set(re.findall(r'job="([^"]*)"', alerts)) == {job}
    prometheus = yaml.safe_load((ROOT / "config" / "prometheus.yml").read_text())
    assert [each["job_name"] for each in prometheus["scrape_configs"]] == [job]
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert endpoint["scrapeTimeout"] == prometheus["global"]["scrape_timeout"]


def test_documented_command_makes_a_prometheus_rule() -> None:
    """The command in the docs creates a PrometheusRule with every group of config/alerts.yml."""
    text = (ROOT / "docs" / "kubernetes.md").read_text()
    found = re.search(r"^    (\{ printf .*?\}) \| kubectl", text, re.MULTILINE | re.DOTALL)
    assert found
    made = subprocess.run(["sh", "-c", found[1]], cwd=ROOT, capture_output=True, check=True)
    rule = yaml.safe_load(made.stdout)
    assert rule["kind"] == "PrometheusRule"
    assert rule["spec"] == yaml.safe_load((ROOT / "config" / "alerts.yml").read_text())


def test_scaler_uses_documented_metrics() -> None:
    """The scaler names the worker's deployment, and metrics and labels that /metrics has."""
    scaled = OBJECTS["scaling-ScaledObject-ingest-worker"]["spec"]
    assert scaled["scaleTargetRef"]["name"] == DEPLOYMENTS["worker"]["metadata"]["name"]
    assert "replicas" not in DEPLOYMENTS["worker"]["spec"]
    assert 2 <= scaled["minReplicaCount"] < scaled["maxReplicaCount"]
    query = scaled["triggers"][0]["metadata"]["query"]
    page = (ROOT / "docs" / "metrics.md").read_text()
    for metric in ("ingest_records", "ingest_destination_state"):
        assert metric in query
        assert f"| `{metric}` |" in page
