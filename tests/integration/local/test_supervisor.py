"""The supervisor, with real children: restarted when they end, stopped in order."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.clocks import Clock
from support.polling import poll_until
from worker.local.log_tail import LogTail
from worker.local.supervisor import FIRST_RESTART_S, MOST_RESTART_S, Program, Supervisor

STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
while True:
    signal.pause()
"""
# Writes its name into the file given when it is asked to end.
ORDERLY = """
import signal, sys
def end(*_):
    open(sys.argv[2], "a").write(sys.argv[1])
    sys.exit()
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
signal.pause()
"""


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


@pytest.fixture
def supervisor(tmp_path: Path, clock: Clock) -> Iterator[Supervisor]:
    """A supervisor with a clock of its own; its children are killed after the test."""
    supervisor = Supervisor(tmp_path, clock)
    yield supervisor
    supervisor.stop(list(supervisor.children), hurry=lambda: True)


def python(name: str, code: str) -> Program:
    """A program of one line."""
    return Program(name, [sys.executable, "-c", code], dict(os.environ))


def test_what_ends_is_started_again_later_and_later(supervisor: Supervisor, clock: Clock) -> None:
    """A program that keeps ending is started again after a wait that doubles, up to a bound."""
    supervisor.start(python("brief", "raise SystemExit(70)"))
    waits = []
    for _ in range(7):
        said = poll_until(supervisor.look, what="it ended")
        assert "ended with exit code 70" in said[0]
        begin = clock.now
        while not supervisor.look():
            clock.now += 0.5
        waits.append(clock.now - begin)
    assert waits == [FIRST_RESTART_S, 2, 4, 8, 16, MOST_RESTART_S, MOST_RESTART_S]


def test_a_program_that_ran_for_long_is_started_again_at_once(
    supervisor: Supervisor, clock: Clock
) -> None:
    """After a steady minute an end is no longer held against a program."""
    child = supervisor.start(python("steady", "import time; time.sleep(60)"))
    for _ in range(3):
        clock.now += 100
        assert child.pid is not None
        os.kill(child.pid, 9)
        said = poll_until(supervisor.look, what="it ended")
        assert f"started again in {FIRST_RESTART_S:g} s" in said[0]
        clock.now += FIRST_RESTART_S
        assert supervisor.look() == ["steady was started again"]


def test_they_are_stopped_in_order_and_the_stubborn_are_killed(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    """Each ends before the next is asked to, and one that does not listen is killed in a hurry."""
    order = tmp_path / "order"
    for name in ("a", "b"):
        command = [sys.executable, "-c", ORDERLY, name, str(order)]
        supervisor.start(Program(name, command, dict(os.environ)))
    pid = supervisor.start(python("stubborn", STUBBORN)).pid
    logs = [tmp_path / f"{name}.log" for name in ("a", "b", "stubborn")]
    poll_until(lambda: all("ready" in log.read_text() for log in logs), what="they are ready")
    assert supervisor.stop(["b", "a"]) == []
    assert order.read_text() == "ba"
    assert supervisor.stop(["stubborn"], hurry=lambda: True) == ["stubborn"]
    with pytest.raises(ProcessLookupError):
        os.kill(pid or 0, 0)


def test_only_what_is_worth_it_is_shown_of_a_log(tmp_path: Path) -> None:
    """Warnings and errors that are added are shown, whole lines only; what was there is not."""
    log = tmp_path / "worker.log"
    log.write_text("2026-01-01T00:00:00Z [error    ] from yesterday\n")
    tail = LogTail(log)
    with log.open("a") as out:
        out.write("2026-01-01T00:00:01Z [info     ] batch settled\n")
        out.write("2026-01-01T00:00:02Z [warning  ] settled too late   batch=1\n")
        out.write("Error: cannot listen\n2026-01-01T00:00:03Z [err")
    assert tail.worth_showing() == [
        "[warning  ] settled too late   batch=1",
        "Error: cannot listen",
    ]
    with log.open("a") as out:
        out.write("or    ] at last\n")
    assert tail.worth_showing() == ["[error    ] at last"]
    assert tail.worth_showing() == []


def test_what_repeats_itself_is_shown_once_in_a_while(tmp_path: Path, clock: Clock) -> None:
    """Errors that differ only in ids and numbers are one; after half a minute it is shown again."""
    log = tmp_path / "worker.log"
    tail = LogTail(log, clock)
    for second in range(61):
        clock.now = second
        with log.open("a") as out:
            out.write(f"2026-01-01T00:00:00Z [error    ] a tick failed  run={second}\n")
        assert len(tail.worth_showing()) == (second % 30 == 0)
