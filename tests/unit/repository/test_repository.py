"""What holds for the repository as a whole: its locks, its tests, its scripts, its variables."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

from support.environment import ROOT, environment

LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
TESTS = sorted(
    path for path in (ROOT / "tests").rglob("test_*.py") if "benchmarks" not in path.parts
)
SCRIPTS = sorted((ROOT / "worker" / "buffer" / "lua").glob("*.lua"))
# The folders that people keep their work in; a path below one means nothing elsewhere.
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|Users|root|work|mnt)/\w[\w.-]*")
# Read from the environment that every process has; not settings of ours.
NOT_OURS = {"CI", "HOSTNAME", "NO_COLOR", "PATH", "TERM"}


def relative(path: Path) -> str:
    """A path as it is shown in a test's name."""
    return str(path.relative_to(ROOT))


def tracked() -> list[Path]:
    """Every file that git knows, or all that are not ignored where there is no git."""
    asked = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        told = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no checkout of git")
    return [path for name in told.stdout.splitlines() if (path := ROOT / name).is_file()]


@pytest.mark.parametrize("lock", LOCKS, ids=relative)
def test_locks_pin_by_hash_and_name_no_index(lock: Path) -> None:
    """Every line is a pinned version or one of its hashes; no address of any index or mirror."""
    pinned = re.compile(
        r"[a-z0-9][a-z0-9.-]*==[\w.!+]+( ; [\w.\s<>=!'()]+)? \\"
        r"|    --hash=sha256:[0-9a-f]{64}( \\)?"
    )
    lines = lock.read_text().splitlines()
    assert [line for line in lines if not pinned.fullmatch(line)] == []
    assert sum("==" in line.split(" ;")[0] for line in lines) > 0


def test_production_installs_the_versions_that_are_tested() -> None:
    """What the image gets is part of what `make setup` installs, file by file."""
    tested = set((ROOT / "requirements" / "dev.txt").read_text().replace(" \\", "").splitlines())
    for name in ("production.txt", "build.txt"):
        lines = (ROOT / "requirements" / name).read_text().replace(" \\", "").splitlines()
        assert set(lines) <= tested, name


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    """Nothing in the repository depends on where it was written."""
    found = []
    for path in tracked():
        if path.suffix in {".png", ".jpg", ".gif", ".ico", ".woff2"}:
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if MACHINE_PATH.search(line) and path != Path(__file__):
                found.append(f"{relative(path)}:{number}: {line.strip()[:80]}")
    assert found == []


@pytest.mark.parametrize("path", TESTS, ids=relative)
def test_every_test_says_what_it_proves(path: Path) -> None:
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


@pytest.mark.parametrize("script", SCRIPTS, ids=relative)
def test_every_script_names_its_keys_arguments_and_answer(script: Path) -> None:
    """A Lua file begins with a header that tells KEYS, ARGV, and what it returns."""
    lines = script.read_text().splitlines()
    code = next((at for at, line in enumerate(lines) if line and not line.startswith("--")), 0)
    header = "\n".join(lines[:code])
    assert header
    if script.name != "prelude.lua":
        for word in ("KEYS", "ARGV", "eturns"):
            assert word in header, word


def test_every_script_that_is_called_exists() -> None:
    """What the package runs by a script's name has a Lua file, and each file is run by somebody."""
    calls = re.compile(r"(?:\bscript|_run|_together\(\[)\(\s*\"(\w+)\"")
    sources = (ROOT / "worker").rglob("*.py")
    called = {name for path in sources for name in calls.findall(path.read_text())}
    assert called == {path.stem for path in SCRIPTS} - {"prelude"}


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


def test_every_variable_is_documented() -> None:
    """Whatever we read from the environment is explained in config/example.env."""
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


def test_set_up_takes_a_python_in_a_folder_with_spaces(tmp_path: Path) -> None:
    """The one named is the one that is asked: here it is too old, which is told of it by name."""
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
