"""The warnings and errors that are added to a log file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from support.clocks import Clock
from worker.local.supervisor import BUILT_IN, CHECKOUT, LogTail, commands, read


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


def test_new_problems_are_added_warnings_and_errors(tmp_path: Path) -> None:
    """Whole lines only, and nothing that was there before."""
    log = tmp_path / "worker.log"
    log.write_text("2026-01-01T00:00:00Z [error    ] from yesterday\n")
    tail = LogTail(log)
    with log.open("a") as out:
        out.write("2026-01-01T00:00:01Z [info     ] batch settled\n")
        out.write("2026-01-01T00:00:02Z [warning  ] settled too late   batch=1\n")
        out.write("Error: cannot listen\n2026-01-01T00:00:03Z [err")
    assert tail.new_problems() == [
        "[warning  ] settled too late   batch=1",
        "Error: cannot listen",
    ]
    with log.open("a") as out:
        out.write("or    ] at last\n")
    assert tail.new_problems() == ["[error    ] at last"]
    assert tail.new_problems() == []


def test_new_problems_that_repeat_are_shown_every_half_minute(tmp_path: Path, clock: Clock) -> None:
    """Errors that differ only in ids and numbers are the same."""
    log = tmp_path / "worker.log"
    tail = LogTail(log, clock)
    for second in range(61):
        clock.now = second
        with log.open("a") as out:
            out.write(f"2026-01-01T00:00:00Z [error    ] a tick failed  run={second}\n")
        assert len(tail.new_problems()) == (second % 30 == 0)


def test_new_problems_of_a_rotated_log_are_read_from_its_beginning(tmp_path: Path) -> None:
    """A file that became shorter is a new one; one that is missing has no problems."""
    log = tmp_path / "worker.log"
    log.write_text("2026-01-01T00:00:00Z [info     ] a long line before\n")
    tail = LogTail(log)
    log.write_text("[error    ] new\n")
    assert tail.new_problems() == ["[error    ] new"]
    log.unlink()
    assert tail.new_problems() == []


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
