"""The manifests of deploy/kubernetes, held against the schemas, the Procfile and the settings."""

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
from worker.app.shutdown import CLOSE_WITHIN_S, END_WITHIN_S
from worker.gateway.__main__ import STOP_WITHIN_S
from worker.gateway.operations.health import Alive, Ready
from worker.gateway.operations.metrics import Metrics
from worker.gateway.settings import MOST_REDIS_TIMEOUT_S

FOLDER = ROOT / "deploy" / "kubernetes"
VERSION = "1.31"  # what most providers have had for long
FOREIGN = (
    "kustomize.config.k8s.io",
    "keda.sh",
    "monitoring.coreos.com",
)  # no part of Kubernetes' own schemas


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
# The Secrets that docs/kubernetes.md tells to make, and their keys.
SECRETS = {
    name: set(re.findall(r"--from-file=(\w+)", keys))
    for name, keys in re.findall(
        r"create secret generic (\S+)((?:\s+\\?\s*--from-file=\w+)+)",
        (ROOT / "docs" / "kubernetes.md").read_text(),
    )
}


def pod(name: str) -> dict[str, Any]:
    """What runs in a deployment's pods."""
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
def test_an_object_is_what_kubernetes_asks_for(name: str) -> None:
    """No field is unknown, missing or of the wrong type."""
    kubernetes_validate.validate(OBJECTS[name], VERSION, strict=True)


def test_all_files_are_applied() -> None:
    """What lies beside kustomization.yaml is listed in it."""
    listed = OBJECTS["kustomization-Kustomization-None"]["resources"]
    assert sorted([*listed, "kustomization.yaml"]) == sorted(f.name for f in FOLDER.iterdir())


def test_pods_run_the_procfiles_commands() -> None:
    """What runs in a cluster is what runs everywhere else, process by process."""
    commands = {name: container(name)["command"] for name in DEPLOYMENTS}
    assert commands == procfile()


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_deployment_selects_its_own_pods(name: str) -> None:
    """Selector, labels and the spread agree, so that none counts another's pods."""
    spec = DEPLOYMENTS[name]["spec"]
    labels = spec["template"]["metadata"]["labels"]
    assert spec["selector"]["matchLabels"] == labels
    assert labels["app.kubernetes.io/component"] == name
    for spread in pod(name).get("topologySpreadConstraints", []):
        assert spread["labelSelector"]["matchLabels"] == labels


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_pod_can_do_no_more_than_it_has_to(name: str) -> None:
    """No root, no capability, no writable image, no token of the cluster's, a bound on memory."""
    assert pod(name)["automountServiceAccountToken"] is False
    assert pod(name)["securityContext"]["runAsNonRoot"] is True
    security = container(name)["securityContext"]
    assert security["readOnlyRootFilesystem"] is True
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert "memory" in container(name)["resources"]["limits"]
    assert "livenessProbe" in container(name)


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_variable_is_one_that_the_program_reads(name: str) -> None:
    """Names are those of config/example.env, or of a file for one of them."""
    known = (ROOT / "config" / "example.env").read_text()
    for variable in environment(name):
        assert is_ours(variable)
        assert f"{variable.removesuffix('_FILE')}=" in known, variable


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_pod_has_the_secrets_that_it_is_told_of_and_no_other(name: str) -> None:
    """Every file that a variable names is in the folder where the Secrets are, as the docs make
    them, and no key is there that no variable names: a beat cannot tell a vendor's passcode."""
    mounts = {each["name"]: each["mountPath"] for each in container(name)["volumeMounts"]}
    volumes = {each["name"]: each for each in pod(name)["volumes"]}
    assert mounts.keys() == volumes.keys()
    sources = volumes["secrets"]["projected"]["sources"]
    mounted = set().union(*(SECRETS[each["secret"]["name"]] for each in sources))
    told = {each: value for each, value in environment(name).items() if each.endswith("_FILE")}
    assert told == {f"{key}_FILE": f"{mounts['secrets']}/{key}" for key in mounted}


def test_the_worker_is_given_time_to_hear_its_answers() -> None:
    """The grace period is longer than a worker takes to end that gets no answer any more."""
    assert pod("worker")["terminationGracePeriodSeconds"] > END_WITHIN_S + CLOSE_WITHIN_S


def test_a_gateway_is_given_time_to_answer() -> None:
    """The grace period has room for the wait before, for requests under way, and for the longest
    that the gateway may be told to wait for Redis."""
    _, waits_s = container("web")["lifecycle"]["preStop"]["exec"]["command"]
    stops_s = STOP_WITHIN_S + 5 * MOST_REDIS_TIMEOUT_S
    assert pod("web")["terminationGracePeriodSeconds"] >= int(waits_s) + stops_s + 3


def test_the_probes_look_where_something_is_to_be_seen() -> None:
    """The worker's file is the one it is told to touch; the gateway's paths are its own."""
    given = {each["name"]: each["value"] for each in container("worker")["env"]}
    for probe in ("startupProbe", "livenessProbe"):
        assert given["INGEST_HEARTBEAT_PATH"] in " ".join(
            container("worker")[probe]["exec"]["command"]
        )
    web = container("web")
    assert web["livenessProbe"]["httpGet"]["path"] == Alive.path
    assert web["readinessProbe"]["httpGet"]["path"] == Ready.path
    port = next(each["value"] for each in web["env"] if each["name"] == "PORT")
    assert web["ports"][0]["containerPort"] == int(port)


def test_prometheus_shows_the_token_that_the_gateways_ask_for() -> None:
    """The monitor selects the gateways' pods and port, and reads the key of the Secret that they
    have as a file; nothing invites a Prometheus that has no token."""
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


def test_the_alerts_ask_for_the_job_that_the_monitor_makes() -> None:
    """The pods' label that names the job has the name in config/alerts.yml, and scrapes have as
    much time as in config/prometheus.yml."""
    monitor = OBJECTS["monitoring-PodMonitor-ingest"]["spec"]
    job = DEPLOYMENTS["web"]["spec"]["template"]["metadata"]["labels"][monitor["jobLabel"]]
    alerts = (ROOT / "config" / "alerts.yml").read_text()
    assert set(re.findall(r'job="([^"]*)"', alerts)) == {job}
    prometheus = yaml.safe_load((ROOT / "config" / "prometheus.yml").read_text())
    assert [each["job_name"] for each in prometheus["scrape_configs"]] == [job]
    (endpoint,) = monitor["podMetricsEndpoints"]
    assert endpoint["scrapeTimeout"] == prometheus["global"]["scrape_timeout"]


def test_the_alerts_become_an_object_as_the_docs_say() -> None:
    """What is typed makes a PrometheusRule with every group of config/alerts.yml."""
    text = (ROOT / "docs" / "kubernetes.md").read_text()
    found = re.search(r"^    (\{ printf .*?\}) \| kubectl", text, re.MULTILINE | re.DOTALL)
    assert found
    made = subprocess.run(["sh", "-c", found[1]], cwd=ROOT, capture_output=True, check=True)
    rule = yaml.safe_load(made.stdout)
    assert rule["kind"] == "PrometheusRule"
    assert rule["spec"] == yaml.safe_load((ROOT / "config" / "alerts.yml").read_text())


def test_workers_are_scaled_by_what_the_metrics_tell() -> None:
    """The scaler names the worker's deployment, and metrics and labels that /metrics has."""
    scaled = OBJECTS["scaling-ScaledObject-ingest-worker"]["spec"]
    assert scaled["scaleTargetRef"]["name"] == DEPLOYMENTS["worker"]["metadata"]["name"]
    assert "replicas" not in DEPLOYMENTS["worker"]["spec"]
    assert 2 <= scaled["minReplicaCount"] < scaled["maxReplicaCount"]
    query = scaled["triggers"][0]["metadata"]["query"]
    told = (ROOT / "docs" / "metrics.md").read_text()
    for metric in ("ingest_records", "ingest_destination_state"):
        assert metric in query
        assert f"| `{metric}` |" in told
