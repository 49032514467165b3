"""The installed packages are enough, in the image and for each extra on its own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions, requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.environment import ROOT, environment

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Loaded by Celery and Flower by name when they run, so not visible in our imports.
LATER = [
    "celery.apps.beat",
    "celery.apps.worker",
    "flower.command",
    "kombu.transport.pyamqp",
    "kombu.transport.redis",
]
# Reads the distributions to hide and the modules to import.
PROGRAM = """
import importlib, json, sys

absent, modules = json.load(sys.stdin)

class Absent:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent)
for module in modules:
    importlib.import_module(module)
"""


def in_the_image() -> set[str]:
    """The distributions that the Dockerfile installs."""
    locked = (ROOT / "requirements" / "production.txt").read_text()
    return {canonicalize_name(each) for each in re.findall(r"^([\w.-]+)==", locked, re.MULTILINE)}


def asked_for(*wanted: str) -> Iterator[Requirement]:
    """The project's own requirements, and those of some of its extras."""
    lines = [*EXTRAS["dependencies"]]
    for extra in wanted:
        lines += EXTRAS["optional-dependencies"][extra]
    yield from map(Requirement, lines)


def with_all_they_need(requirements: Iterator[Requirement]) -> set[str]:
    """The distributions that pip brings for these requirements, on this Python."""
    found: set[tuple[str, str]] = set()
    waiting = list(requirements)
    while waiting:
        asked = waiting.pop()
        name = canonicalize_name(asked.name)
        for extra in {"", *asked.extras}:
            if (name, extra) in found:
                continue
            found.add((name, extra))
            waiting.extend(
                each
                for each in map(Requirement, requires(name) or ())
                if each.marker is None or each.marker.evaluate({"extra": extra})
            )
    return {name for name, _ in found}


def import_with(installed: set[str], modules: list[str]) -> None:
    """Import the modules as if nothing but ``installed`` were there; fails when that fails."""
    installed = installed | {"ingestion-worker"}
    absent = [
        name
        for name, owners in packages_distributions().items()
        if not installed & {canonicalize_name(each) for each in owners}
    ]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env=environment({}),
        input=json.dumps([absent, modules]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_image_has_all_imported_packages() -> None:
    """All our modules, and those that Celery loads by name, need only the lock's packages."""
    ours = sorted((ROOT / "worker").rglob("*.py"))
    modules = [".".join(each.relative_to(ROOT).with_suffix("").parts) for each in ours]
    import_with(in_the_image(), [*LATER, *(each for each in modules if "__main__" not in each)])


@pytest.mark.parametrize(
    ("extras", "modules"),
    [
        ((), ["worker.producer.producer"]),
        (("worker",), ["worker.app", "worker.app.tasks", "worker.cli", *LATER]),
        (("gateway",), ["worker.gateway.app", "worker.dashboard.routes"]),
        (
            ("worker", "metrics"),
            ["worker.cli.commands.metrics", "worker.monitoring.metrics.collector"],
        ),
        (("worker", "sandbox"), ["worker.cli.commands.sandbox"]),
    ],
    ids=str,
)
def test_extra_installs_what_its_modules_import(
    extras: tuple[str, ...], modules: list[str]
) -> None:
    """Installing only this extra is enough to start what it is for."""
    import_with(with_all_they_need(asked_for(*extras)), modules)
