"""Procfile, image, compose file, Redis' and Flower's configuration, held against each other."""

from __future__ import annotations

import re
import shlex
import tomllib
from typing import Any

import pytest
import yaml

from support.environment import ROOT
from support.processes import procfile
from worker.app.shutdown import CLOSE_WITHIN_S, END_WITHIN_S
from worker.gateway.__main__ import STOP_WITHIN_S
from worker.gateway.settings import MOST_REDIS_TIMEOUT_S
from worker.sandbox.settings import SandboxSettings

RECORD_BYTES = 300  # a 190-byte event as Redis holds it, by the 1.5 that the benchmark allows


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The compose file, taken apart."""
    parsed: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return parsed


@pytest.fixture(scope="module")
def dockerfile() -> list[str]:
    """The Dockerfile's instructions, one a line, without comments."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def redis_conf() -> dict[str, str]:
    """The directives of redis.conf."""
    lines = (ROOT / "config" / "redis.conf").read_text().splitlines()
    parts = (line.split(None, 1) for line in lines if line and not line.startswith("#"))
    return {name: value.strip('"') for name, value in parts}


def environment_file(name: str) -> dict[str, str]:
    """The variables of an env file in config/, those commented out with `#NAME=` too."""
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


def test_the_procfile_has_one_plain_command_a_line() -> None:
    """Each process is one command without a shell's means, so that options can be appended."""
    assert list(procfile()) == ["web", "worker", "beat", "flower"]
    for name, command in procfile().items():
        if name != "web":
            assert command[:4] == ["celery", "-A", "worker.app", name]
        assert not set("&|;<>$`") & set(shlex.join(command).replace("'", ""))


@pytest.mark.parametrize("name", procfile())
def test_compose_runs_the_procfiles_commands(compose: dict[str, Any], name: str) -> None:
    """What runs in containers is what runs everywhere else."""
    assert compose["services"][name]["command"] == procfile()[name]


def test_the_image_runs_the_worker_by_default(dockerfile: list[str]) -> None:
    """The image's own command is the Procfile's worker, in exec form, which passes signals on."""
    command = next(line for line in dockerfile if line.startswith("CMD "))
    assert yaml.safe_load(command.removeprefix("CMD ")) == procfile()["worker"]


def test_the_image_is_pinned_and_unprivileged(dockerfile: list[str]) -> None:
    """It starts from one exact Python that we support, and gives up root for good."""
    image = next(line for line in dockerfile if line.startswith("ARG PYTHON_IMAGE="))
    major, minor, _ = re.search(r"python:(\d+)\.(\d+)\.(\d+)-slim-\w+$", image).groups()  # type: ignore[union-attr]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"Programming Language :: Python :: {major}.{minor}" in project["classifiers"]
    assert {line for line in dockerfile if line.startswith("FROM")} == {
        "FROM ${PYTHON_IMAGE} AS build",
        "FROM ${PYTHON_IMAGE}",
    }
    assert [line for line in dockerfile if line.startswith("USER")] == ["USER worker"]


def test_the_image_is_installed_by_hash_and_holds_no_secret(dockerfile: list[str]) -> None:
    """Nothing is installed that no lock names, and no credential is built in."""
    installs = re.findall(r"pip install[^&]*", "\n".join(dockerfile))
    assert len(installs) == 3
    assert all("--require-hashes" in each or "--no-index" in each for each in installs)
    built_in = [line for line in dockerfile if line.startswith(("ENV", "ARG"))]
    assert not re.search(r"PASSCODE|SECRET|TOKEN|KEY|AUTH|PASSWORD", "\n".join(built_in))


def test_what_the_image_copies_is_let_through(dockerfile: list[str]) -> None:
    """.dockerignore shuts out everything but the paths that the Dockerfile copies."""
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[1] == "*"
    let_through = [line[1:].rstrip("/") for line in ignored if line.startswith("!")]
    copies = [line.split()[1:-1] for line in dockerfile if line.startswith("COPY")]
    for source in (path.rstrip("/") for paths in copies for path in paths):
        if source.startswith(("--from", "/opt")):
            continue
        assert any(each == source or each.startswith(f"{source}/") for each in let_through), source


def test_images_of_others_are_pinned(compose: dict[str, Any]) -> None:
    """Each is one exact version, Redis of 7 or newer, so that an upgrade is a decision."""
    images = {name: each["image"] for name, each in compose["services"].items()}
    assert re.fullmatch(r"prom/prometheus:v3\.\d+\.\d+", images.pop("prometheus"))
    assert re.fullmatch(r"grafana/grafana:\d+\.\d+\.\d+", images.pop("grafana"))
    redis = images.pop("redis")
    assert re.fullmatch(r"redis:7\.\d+\.\d+-alpine|valkey/valkey:[89]\.\d+\.\d+-alpine", redis)
    assert set(images.values()) == {"ingestion-worker"}


def test_every_service_is_restarted_and_watched(compose: dict[str, Any]) -> None:
    """Each long-running service comes back after a crash and tells whether it is well."""
    for name, service in compose["services"].items():
        assert service["restart"] == "unless-stopped", name
        assert name == "sandbox" or service["healthcheck"]["test"], name


def test_workers_wait_for_a_redis_that_has_loaded(compose: dict[str, Any]) -> None:
    """Nothing starts before Redis answers, which it does not while it loads its file."""
    for name in ("worker", "beat", "flower"):
        assert compose["services"][name]["depends_on"]["redis"]["condition"] == "service_healthy"
    assert "PONG" in compose["services"]["redis"]["healthcheck"]["test"][1]


def test_processes_are_given_the_time_to_hear_the_answers(compose: dict[str, Any]) -> None:
    """The times to stop exceed a request's timeout, and what a worker and a gateway take that get
    no answer any more."""
    graces_s = {
        name: seconds(compose["services"][name]["stop_grace_period"]) for name in ("worker", "web")
    }
    destinations = (ROOT / "config" / "destinations.toml").read_text()
    timeouts_s = re.findall(r"INGEST_REQUEST_TIMEOUT_S:-(\d+)", destinations)
    assert timeouts_s
    assert graces_s["worker"] > max(END_WITHIN_S + CLOSE_WITHIN_S, *map(int, timeouts_s))
    assert graces_s["web"] > STOP_WITHIN_S + 5 * MOST_REDIS_TIMEOUT_S


def test_redis_keeps_what_it_was_given(compose: dict[str, Any], redis_conf: dict[str, str]) -> None:
    """Append-only, never evicting, on a volume that outlives the container."""
    assert redis_conf["appendonly"] == "yes"
    assert redis_conf["appendfsync"] in ("everysec", "always")
    assert redis_conf["maxmemory-policy"] == "noeviction"
    redis = compose["services"]["redis"]
    assert "./config/redis.conf:/etc/redis/redis.conf:ro" in redis["volumes"]
    assert "redis-data:/data" in redis["volumes"]
    assert "redis-data" in compose["volumes"]
    assert redis["command"][:4] == ["redis-server", "/etc/redis/redis.conf", "--dir", "/data"]


def test_the_buffers_limits_are_met_before_redis_is_full(
    compose: dict[str, Any], redis_conf: dict[str, str]
) -> None:
    """INGEST_MAX_BUFFERED of every destination fits in maxmemory, and that in the container."""
    text = (ROOT / "config" / "destinations.toml").read_text()
    limits = [int(each) for each in re.findall(r"INGEST_MAX_BUFFERED:-(\d+)", text)]
    assert len(limits) == len(tomllib.loads(text)["destinations"])
    maxmemory = size(redis_conf["maxmemory"])
    assert sum(limits) * RECORD_BYTES < maxmemory
    assert sum(limits) * 270 <= maxmemory * 2 / 3  # as docs/scaling.md asks for
    assert size(compose["services"]["redis"]["mem_limit"]) >= maxmemory * 1.5


def test_redis_is_not_published(compose: dict[str, Any]) -> None:
    """Only what is looked at in a browser has a port on the host, and that one on loopback."""
    published = {
        name: each["ports"] for name, each in compose["services"].items() if "ports" in each
    }
    assert published == {
        "flower": ["127.0.0.1:5555:5555"],
        "web": ["127.0.0.1:8000:8000"],
        "metrics": ["127.0.0.1:9090:9090"],
        "grafana": ["127.0.0.1:3000:3000"],
    }


def test_prometheus_and_grafana_are_asked_for_and_fit(compose: dict[str, Any]) -> None:
    """They start with their profile alone, mount files that exist, and find each other."""
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


def test_flower_needs_a_login_in_compose(compose: dict[str, Any]) -> None:
    """Compose refuses to start without FLOWER_BASIC_AUTH instead of running Flower open."""
    login = compose["services"]["flower"]["environment"]["FLOWER_BASIC_AUTH"]
    assert login.startswith("${FLOWER_BASIC_AUTH:?")


def test_compose_holds_no_secret(compose: dict[str, Any]) -> None:
    """Credentials are passed on by name alone, each with its twin that names a file."""
    given = compose["x-environment"]
    secrets = [name for name in given if re.search(r"(PASSCODE|SECRET|TOKEN|_ID)$", name)]
    assert secrets
    assert all(given[name] is None for name in secrets)
    assert all(f"{name}_FILE" in given for name in secrets)


def test_compose_passes_on_what_the_destinations_file_takes(compose: dict[str, Any]) -> None:
    """Every variable that destinations.toml refers to reaches the containers."""
    text = (ROOT / "config" / "destinations.toml").read_text()
    taken = set(re.findall(r"\$\{([A-Z][A-Z0-9_]*)", text)) - {"NAME"}
    assert taken <= set(compose["x-environment"])


# What a container is not told, for it is the image's or the compose file's own matter.
OF_THE_IMAGE = {"FLOWER_PORT", "INGEST_BEAT_SCHEDULE"}


def test_compose_passes_on_every_variable_that_is_documented(compose: dict[str, Any]) -> None:
    """What is set in .env takes effect: none of config/example.env is left out in silence."""
    passed_on = {
        name for each in compose["services"].values() for name in each.get("environment", ())
    }
    assert set(environment_file("example.env")) - passed_on == OF_THE_IMAGE


def test_who_shares_a_network_is_restarted_with_its_owner(compose: dict[str, Any]) -> None:
    """A network that was made anew is lost to those who shared the old one."""
    for name, service in compose["services"].items():
        if "network_mode" in service:
            owner = service["network_mode"].removeprefix("service:")
            assert service["depends_on"][owner]["restart"] is True, name


def test_containers_have_the_destinations_of_this_folder(
    compose: dict[str, Any], dockerfile: list[str]
) -> None:
    """The image reads the file in /app/config, so that a change of ours needs no new image."""
    assert "WORKDIR /app" in dockerfile
    (told,) = (line for line in dockerfile if line.startswith("ENV "))
    assert "INGEST_DESTINATIONS=/app/config/destinations.toml" in told.split()
    for name in ("worker", "beat", "web", "flower", "metrics"):
        assert "./config:/app/config:ro" in compose["services"][name]["volumes"], name


def test_the_sandboxs_variables_open_the_sandbox() -> None:
    """config/sandbox.env holds the stand-in's own credentials, and nothing of a vendor."""
    given, sandbox = environment_file("sandbox.env"), SandboxSettings()
    assert given["CLEVERTAP_ACCOUNT_ID"] == sandbox.account_id
    assert given["CLEVERTAP_PASSCODE"] == sandbox.passcode
    assert given["BLOOMREACH_PROJECT_TOKEN"] == sandbox.project_token
    assert given["BLOOMREACH_API_KEY_ID"] == sandbox.api_key_id
    assert given["BLOOMREACH_API_SECRET"] == sandbox.api_secret
    assert given["CLEVERTAP_BASE_URL"] == given["BLOOMREACH_BASE_URL"] == "http://127.0.0.1:8090"


def test_compose_knows_no_variable_that_is_not_documented(compose: dict[str, Any]) -> None:
    """Every variable that compose passes on is explained in config/example.env."""
    if not (ROOT / "config" / "example.env").exists():
        pytest.skip("config/example.env is not there yet")
    documented = environment_file("example.env")
    passed_on = {name.removesuffix("_FILE") for name in compose["x-environment"]}
    assert passed_on <= {name.removesuffix("_FILE") for name in documented}


def test_the_buffers_of_the_scaling_table_fit_and_last_as_long_as_it_says() -> None:
    """The limits are at most 60 % of 70 % of the memory, at 270 bytes a record, and the time is the
    limits divided by the records a second; what is shipped is the first row."""
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
