"""The commands of the Procfile, with and without the file."""

from __future__ import annotations

import sys
from pathlib import Path

from worker.local.procfile import BUILT_IN, CHECKOUT, commands, read


def test_built_in_commands_equal_the_procfile() -> None:
    """Without a checkout the same processes run; an option replaces Flower's file."""
    lines = read((CHECKOUT / "Procfile").read_text())
    assert lines.keys() >= BUILT_IN.keys()
    assert {name: lines[name] for name in ("worker", "beat")} == {
        name: BUILT_IN[name] for name in ("worker", "beat")
    }
    assert lines["flower"].split()[:4] == BUILT_IN["flower"].split()[:4]


def test_commands_run_from_any_directory(tmp_path: Path) -> None:
    """Celery is this Python's, and files named in a line are found beside the Procfile."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "flower.py").touch()
    (tmp_path / "Procfile").write_text("# web: x\nflower: celery flower --conf=config/flower.py\n")
    assert commands(tmp_path) == {
        "flower": [
            sys.executable,
            "-m",
            "celery",
            "flower",
            f"--conf={tmp_path / 'config' / 'flower.py'}",
        ]
    }


def test_commands_without_a_procfile_are_built_in(tmp_path: Path) -> None:
    """An installed package has no Procfile."""
    assert commands(tmp_path).keys() == BUILT_IN.keys()


def test_procfile_web_runs_the_gateway() -> None:
    """`web` is the command that the gateway's tests start."""
    assert read((CHECKOUT / "Procfile").read_text())["web"] == "python -m worker.gateway"
