"""The repository as a whole: its locks, tests, scripts and environment variables."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

from support.environment import ROOT, environment
from support.repository import relative

LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
TESTS = sorted(
    path for path in (ROOT / "tests").rglob("test_*.py") if "benchmarks" not in path.parts
)
# Folders with personal files; a path below one is meaningless on another machine.
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|Users|root|work|mnt)/\w[\w.-]*")
# Part of every process's environment; not our settings.
NOT_OURS = {"CI", "HOSTNAME", "NO_COLOR", "PATH", "TERM"}


def tracked() -> list[Path]:
    """All files that git tracks or would track."""
    asked = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [path for name in listed.stdout.splitlines() if (path := ROOT / name).is_file()]


@pytest.mark.parametrize("lock", LOCKS, ids=relative)
def test_locks_pin_by_hash_without_an_index(lock: Path) -> None:
    """Each line is a pinned version or one of its hashes; no index or mirror address."""
    pinned = re.compile(
        r"[a-z0-9][a-z0-9.-]*==[\w.!+]+( ; [\w.\s<>=!'()]+)? \\"
        r"|    --hash=sha256:[0-9a-f]{64}( \\)?"
    )
    lines = lock.read_text().splitlines()
    assert [line for line in lines if not pinned.fullmatch(line)] == []
    assert sum("==" in line.split(" ;")[0] for line in lines) > 0


def test_production_locks_are_part_of_the_dev_lock() -> None:
    """The image installs the versions that `make setup` installs."""
    tested = set((ROOT / "requirements" / "dev.txt").read_text().replace(" \\", "").splitlines())
    for name in ("production.txt", "build.txt"):
        lines = (ROOT / "requirements" / name).read_text().replace(" \\", "").splitlines()
        assert set(lines) <= tested, name


def test_files_contain_no_path_of_a_developer_machine() -> None:
    """Nothing in the repository depends on the machine where it was written."""
    found = []
    for path in tracked():
        if path.suffix in {".png", ".jpg", ".gif", ".ico", ".woff2"}:
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if MACHINE_PATH.search(line) and path != Path(__file__):
                found.append(f"{relative(path)}:{number}: {line.strip()[:80]}")
    assert found == []


@pytest.mark.parametrize("path", TESTS, ids=relative)
def test_tests_all_have_docstrings(path: Path) -> None:
    """Each test, and each test module, has a docstring."""
    module = ast.parse(path.read_text())
    functions = [
        each
        for each in ast.walk(module)
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
        and each.name.startswith("test_")
    ]
    assert ast.get_docstring(module)
    assert [each.name for each in functions if not ast.get_docstring(each)] == []


def variables_read() -> dict[str, set[str]]:
    """The environment variables that our code and the destinations file read, and where."""
    found: dict[str, set[str]] = {}
    quoted = re.compile(
        r"""["']((?:BLOOMREACH|CELERY|CLEVERTAP|FLOWER|INGEST|REDIS)_[A-Z0-9_]+)["']"""
    )
    asked = re.compile(r"""environ(?:\.get\(|\[)\s*["']([A-Z][A-Z0-9_]*)["']""")
    for path in [*(ROOT / "worker").rglob("*.py"), ROOT / "config" / "flower.py"]:
        text = path.read_text()
        for name in [*quoted.findall(text), *asked.findall(text)]:
            found.setdefault(name, set()).add(relative(path))
    destinations = (ROOT / "config" / "destinations.toml").read_text()
    for name in re.findall(r"\$\{([A-Z][A-Z0-9_]*)", destinations):
        found.setdefault(name, set()).add("config/destinations.toml")
    return found


def test_environment_variables_are_documented() -> None:
    """Each variable that the code reads is explained in config/example.env."""
    example = ROOT / "config" / "example.env"
    if not example.exists():
        pytest.skip("config/example.env is not there yet")
    documented = set(re.findall(r"\b([A-Z][A-Z0-9_]+)\b", example.read_text())) | NOT_OURS
    read = variables_read()
    unknown = {
        name: sorted(where)
        for name, where in read.items()
        if name.removesuffix("_FILE") not in documented
        and name != "NAME"
        and not name.endswith("_")
    }
    assert unknown == {}


def test_setup_with_spaces_in_the_python_path_reports_its_version(tmp_path: Path) -> None:
    """The named Python is the one that is checked; here it is too old, and the message says so."""
    old = tmp_path / "a b" / "python"
    old.parent.mkdir()
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.1\n')
    old.chmod(0o755)
    done = subprocess.run(
        [str(ROOT / "scripts" / "setup")],
        env=environment({"PYTHON": str(old)}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Python 3.11 or newer is needed; found: Python 3.9.1.\n")
