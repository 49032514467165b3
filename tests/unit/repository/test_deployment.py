"""Procfile, image, compose file, and the configuration of Redis and Flower agree."""

from __future__ import annotations

import re
import shlex
import tomllib
from typing import Any

import pytest
import yaml

from support.environment import ROOT
from support.processes import procfile
from worker.app.process import CLOSE_WITHIN_S, END_WITHIN_S
from worker.gateway.__main__ import STOP_WITHIN_S
from worker.gateway.settings import MAX_REDIS_TIMEOUT_S
from worker.sandbox.settings import SandboxSettings

RECORD_BYTES = 300  # a 190-byte event in Redis, with the factor 1.5 that the benchmark allows


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The parsed compose file."""
    parsed: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return parsed


@pytest.fixture(scope="module")
def dockerfile() -> list[str]:
    """The Dockerfile's instructions, one per line, without comments."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def redis_conf() -> dict[str, str]:
    """The directives of redis.conf."""
    lines = (ROOT / "config" / "redis.conf").read_text().splitlines()
    parts = (line.split(None, 1) for line in lines if line and not line.startswith("#"))
    return {name: value.strip('"') for name, value in parts}


def environment_file(name: str) -> dict[str, str]:
    """The variables of an env file in config/, including those commented out with `#NAME=`."""
    text = (ROOT / "config" / name).read_text()
    return dict(re.findall(r"^#? ?([A-Z][A-Z0-9_]*)=(.*)$", text, re.MULTILINE))


def seconds(duration: str) -> int:
    """A compose duration in seconds."""
    amount, unit = re.fullmatch(r"(\d+)(s|m)", duration or "").groups()  # type: ignore[union-attr]
    return int(amount) * {"s": 1, "m": 60}[unit]


def size(text: str) -> int:
    """A memory size of Redis or compose in bytes."""
    amount, unit = re.fullmatch(r"(\d+)([mg])b?", text).groups()  # type: ignore[union-attr]
    return int(amount) * {"m": 1 << 20, "g": 1 << 30}[unit]


def test_procfile_has_one_plain_command_per_line() -> None:
    """Each process is one command without shell syntax, so that options can be appended."""
    assert list(procfile()) == ["web", "worker", "beat", "flower"]
    for name, command in procfile().items():
        if name != "web":
            assert command[:4] == ["celery", "-A", "worker.app", name]
        assert not set("&|;<>$`") & set(shlex.join(command).replace("'", ""))


@pytest.mark.parametrize("name", procfile())
def test_compose_runs_the_procfile_commands(compose: dict[str, Any], name: str) -> None:
    """Containers run the same commands as every other installation."""
    assert compose["services"][name]["command"] == procfile()[name]


def test_image_runs_the_worker_by_default(dockerfile: list[str]) -> None:
    """The image's command is the Procfile's worker, in exec form, which passes signals on."""
    command = next(line for line in dockerfile if line.startswith("CMD "))
    assert yaml.safe_load(command.removeprefix("CMD ")) == procfile()["worker"]


def test_image_is_pinned_and_unprivileged(dockerfile: list[str]) -> None:
    """The image starts from one exact, supported Python and does not run as root."""
    image = next(line for line in dockerfile if line.startswith("ARG PYTHON_IMAGE="))
    major, minor, _ = re.search(r"python:(\d+)\.(\d+)\.(\d+)-slim-\w+$", image).groups()  # type: ignore[union-attr]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"Programming Language :: Python :: {major}.{minor}" in project["classifiers"]
    assert {line for line in dockerfile if line.startswith("FROM")} == {
        "FROM ${PYTHON_IMAGE} AS build",
        "FROM ${PYTHON_IMAGE}",
    }
    assert [line for line in dockerfile if line.startswith("USER")] == ["USER worker"]


def test_image_is_installed_by_hash_without_secrets(dockerfile: list[str]) -> None:
    """The image installs only locked packages and contains no credentials."""
    installs = re.findall(r"pip install[^&]*", "\n".join(dockerfile))
    assert len(installs) == 3
    assert all("--require-hashes" in each or "--no-index" in each for each in installs)
    built_in = [line for line in dockerfile if line.startswith(("ENV", "ARG"))]
    assert not re.search(r"PASSCODE|SECRET|TOKEN|KEY|AUTH|PASSWORD", "\n".join(built_in))


def test_dockerignore_admits_what_the_image_copies(dockerfile: list[str]) -> None:
    """.dockerignore excludes everything but the paths that the Dockerfile copies."""
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[1] == "*"
    let_through = [line[1:].rstrip("/") for line in ignored if line.startswith("!")]
    copies = [line.split()[1:-1] for line in dockerfile if line.startswith("COPY")]
    for source in (path.rstrip("/") for paths in copies for path in paths):
        if source.startswith(("--from", "/opt")):
            continue
        assert any(each == source or each.startswith(f"{source}/") for each in let_through), source


def test_third_party_images_are_pinned(compose: dict[str, Any]) -> None:
    """Each image is one exact version, Redis at least 7, so that an upgrade is a decision."""
    images = {name: each["image"] for name, each in compose["services"].items()}
    assert re.fullmatch(r"prom/prometheus:v3\.\d+\.\d+", images.pop("prometheus"))
    assert re.fullmatch(r"grafana/grafana:\d+\.\d+\.\d+", images.pop("grafana"))
    redis = images.pop("redis")
    assert re.fullmatch(r"redis:7\.\d+\.\d+-alpine|valkey/valkey:[89]\.\d+\.\d+-alpine", redis)
    assert set(images.values()) == {"ingestion-worker"}


def test_services_restart_and_have_health_checks(compose: dict[str, Any]) -> None:
    """Each long-running service restarts after a crash and reports its health."""
    for name, service in compose["services"].items():
        assert service["restart"] == "unless-stopped", name
        assert name == "sandbox" or service["healthcheck"]["test"], name


def test_workers_wait_until_redis_has_loaded(compose: dict[str, Any]) -> None:
    """Nothing starts before Redis answers PONG, which it does not while loading its file."""
    for name in ("worker", "beat", "flower"):
        assert compose["services"][name]["depends_on"]["redis"]["condition"] == "service_healthy"
    assert "PONG" in compose["services"]["redis"]["healthcheck"]["test"][1]


def test_stop_grace_periods_exceed_request_timeouts(compose: dict[str, Any]) -> None:
    """The grace periods exceed a request timeout, and the longest stop of a worker or gateway."""
    graces_s = {
        name: seconds(compose["services"][name]["stop_grace_period"]) for name in ("worker", "web")
    }
    destinations = (ROOT / "config" / "destinations.toml").read_text()
    timeouts_s = re.findall(r"INGEST_REQUEST_TIMEOUT_S:-(\d+)", destinations)
    assert timeouts_s
    assert graces_s["worker"] > max(END_WITHIN_S + CLOSE_WITHIN_S, *map(int, timeouts_s))
    assert graces_s["web"] > STOP_WITHIN_S + 5 * MAX_REDIS_TIMEOUT_S


def test_redis_persists_and_never_evicts(
    compose: dict[str, Any], redis_conf: dict[str, str]
) -> None:
    """Redis appends to a file, never evicts, and its volume outlives the container."""
    assert redis_conf["appendonly"] == "yes"
    assert redis_conf["appendfsync"] in ("everysec", "always")
    assert redis_conf["maxmemory-policy"] == "noeviction"
    redis = compose["services"]["redis"]
    assert "./config/redis.conf:/etc/redis/redis.conf:ro" in redis["volumes"]
    assert "redis-data:/data" in redis["volumes"]
    assert "redis-data" in compose["volumes"]
    assert redis["command"][:4] == ["redis-server", "/etc/redis/redis.conf", "--dir", "/data"]


def test_buffer_limits_fit_into_redis_memory(
    compose: dict[str, Any], redis_conf: dict[str, str]
) -> None:
    """INGEST_MAX_BUFFERED of all destinations fits in maxmemory, and maxmemory in the container."""
    text = (ROOT / "config" / "destinations.toml").read_text()
    limits = [int(each) for each in re.findall(r"INGEST_MAX_BUFFERED:-(\d+)", text)]
    assert len(limits) == len(tomllib.loads(text)["destinations"])
    maxmemory = size(redis_conf["maxmemory"])
    assert sum(limits) * RECORD_BYTES < maxmemory
    assert sum(limits) * 270 <= maxmemory * 2 / 3  # as docs/scaling.md requires
    assert size(compose["services"]["redis"]["mem_limit"]) >= maxmemory * 1.5


def test_published_ports_are_browser_ports_on_loopback(compose: dict[str, Any]) -> None:
    """Only services for a browser have a port on the host, and only on loopback."""
    published = {
        name: each["ports"] for name, each in compose["services"].items() if "ports" in each
    }
    assert published == {
        "flower": ["127.0.0.1:5555:5555"],
        "web": ["127.0.0.1:8000:8000"],
        "metrics": ["127.0.0.1:9090:9090"],
        "grafana": ["127.0.0.1:3000:3000"],
    }


def test_prometheus_and_grafana_start_with_their_profile(compose: dict[str, Any]) -> None:
    """They start only with their profile, mount existing files, and find each other."""
    services = compose["services"]
    asked_for = {name for name, each in services.items() if each.get("profiles")}
    assert asked_for == {"sandbox", "metrics", "prometheus", "grafana"}
    for name in ("prometheus", "grafana"):
        mounts = [each.split(":") for each in services[name]["volumes"] if each.startswith("./")]
        assert all((ROOT / source).exists() and mode == "ro" for source, _, mode in mounts), name
    targets = yaml.safe_load((ROOT / "config" / "prometheus.yml").read_text())["scrape_configs"]
    port = services["metrics"]["command"][-1]
    assert targets[0]["static_configs"] == [{"targets": [f"127.0.0.1:{port}"]}]
    assert services["prometheus"]["network_mode"] == "service:metrics"
    grafana = ROOT / "config" / "grafana" / "provisioning"
    source = yaml.safe_load((grafana / "datasources" / "prometheus.yml").read_text())
    assert source["datasources"][0]["url"] == "http://metrics:9090"
    folder = yaml.safe_load((grafana / "dashboards" / "ingest.yml").read_text())
    path = folder["providers"][0]["options"]["path"]
    assert any(f":{path}/ingest.json:" in each for each in services["grafana"]["volumes"])
    assert services["grafana"]["environment"]["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"


def test_compose_without_a_flower_login_refuses_to_start(compose: dict[str, Any]) -> None:
    """Compose requires FLOWER_BASIC_AUTH instead of running Flower without a login."""
    login = compose["services"]["flower"]["environment"]["FLOWER_BASIC_AUTH"]
    assert login.startswith("${FLOWER_BASIC_AUTH:?")


def test_compose_contains_no_secrets(compose: dict[str, Any]) -> None:
    """Credentials are passed on by name only, each with a variable that names a file."""
    given = compose["x-environment"]
    secrets = [name for name in given if re.search(r"(PASSCODE|SECRET|TOKEN|_ID)$", name)]
    assert secrets
    assert all(given[name] is None for name in secrets)
    assert all(f"{name}_FILE" in given for name in secrets)


def test_compose_passes_on_variables_of_the_destinations_file(compose: dict[str, Any]) -> None:
    """Each variable that destinations.toml refers to reaches the containers."""
    text = (ROOT / "config" / "destinations.toml").read_text()
    taken = set(re.findall(r"\$\{([A-Z][A-Z0-9_]*)", text)) - {"NAME"}
    assert taken <= set(compose["x-environment"])


# Variables that the image or the compose file sets itself.
OF_THE_IMAGE = {"FLOWER_PORT", "INGEST_BEAT_SCHEDULE"}


def test_compose_passes_on_documented_variables(compose: dict[str, Any]) -> None:
    """Each variable of config/example.env takes effect when set in .env."""
    passed_on = {
        name for each in compose["services"].values() for name in each.get("environment", ())
    }
    assert set(environment_file("example.env")) - passed_on == OF_THE_IMAGE


def test_services_sharing_a_network_restart_with_its_owner(compose: dict[str, Any]) -> None:
    """A recreated network is not shared with the services that used the old one."""
    for name, service in compose["services"].items():
        if "network_mode" in service:
            owner = service["network_mode"].removeprefix("service:")
            assert service["depends_on"][owner]["restart"] is True, name


def test_containers_use_the_destinations_of_this_folder(
    compose: dict[str, Any], dockerfile: list[str]
) -> None:
    """The image reads the file in /app/config, so that changing it needs no new image."""
    assert "WORKDIR /app" in dockerfile
    (variables,) = (line for line in dockerfile if line.startswith("ENV "))
    assert "INGEST_DESTINATIONS=/app/config/destinations.toml" in variables.split()
    for name in ("worker", "beat", "web", "flower", "metrics"):
        assert "./config:/app/config:ro" in compose["services"][name]["volumes"], name


def test_sandbox_env_has_the_credentials_of_the_sandbox() -> None:
    """config/sandbox.env contains only the sandbox's own credentials and address."""
    given, sandbox = environment_file("sandbox.env"), SandboxSettings()
    assert given["CLEVERTAP_ACCOUNT_ID"] == sandbox.account_id
    assert given["CLEVERTAP_PASSCODE"] == sandbox.passcode
    assert given["BLOOMREACH_PROJECT_TOKEN"] == sandbox.project_token
    assert given["BLOOMREACH_API_KEY_ID"] == sandbox.api_key_id
    assert given["BLOOMREACH_API_SECRET"] == sandbox.api_secret
    assert given["CLEVERTAP_BASE_URL"] == given["BLOOMREACH_BASE_URL"] == "http://127.0.0.1:8090"


def test_compose_variables_are_documented(compose: dict[str, Any]) -> None:
    """Each variable that compose passes on is explained in config/example.env."""
    if not (ROOT / "config" / "example.env").exists():
        pytest.skip("config/example.env is not there yet")
    documented = environment_file("example.env")
    passed_on = {name.removesuffix("_FILE") for name in compose["x-environment"]}
    assert passed_on <= {name.removesuffix("_FILE") for name in documented}


def test_scaling_table_limits_fit_and_last_as_stated() -> None:
    """The limits are at most 60 % of 70 % of the memory at 270 bytes per record, and the durations
    are the limits divided by the rates; the first row is what is shipped."""
    text = (ROOT / "docs" / "scaling.md").read_text()
    rows = re.findall(
        r"^\| (?:up to )?([\d,]+) \|[^|]*?(?:(\d) x )?(\d+) GB[^|]*\| ([\d,]+) \| (\d+) min \|",
        text,
        re.MULTILINE,
    )
    assert len(rows) == 4
    for rate, servers, gigabytes, limit, minutes in rows:
        records, per_s = (int(each.replace(",", "")) for each in (limit, rate))
        memory = int(servers or 1) * int(gigabytes) * 10**9
        assert records * 270 <= 0.6 * 0.7 * memory
        assert int(minutes) == records // per_s // 60
    limits = re.findall(
        r"INGEST_MAX_BUFFERED:-(\d+)", (ROOT / "config" / "destinations.toml").read_text()
    )
    assert int(rows[0][3].replace(",", "")) == int(limits[0])
