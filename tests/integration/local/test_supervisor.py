"""The supervisor with real children: restarted when they end, stopped in order."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.clocks import Clock
from support.polling import poll_until
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


def test_a_program_that_keeps_ending_is_restarted_after_longer_waits(
    supervisor: Supervisor, clock: Clock
) -> None:
    """The wait before each restart doubles, up to a bound."""
    supervisor.start(python("brief", "raise SystemExit(70)"))
    waits = []
    for _ in range(7):
        events = poll_until(supervisor.poll, what="it ended")
        assert "exited with code 70" in events[0]
        begin = clock.now
        while not supervisor.poll():
            clock.now += 0.5
        waits.append(clock.now - begin)
    assert waits == [FIRST_RESTART_S, 2, 4, 8, 16, MOST_RESTART_S, MOST_RESTART_S]


def test_a_program_that_ran_for_a_minute_is_restarted_soon(
    supervisor: Supervisor, clock: Clock
) -> None:
    """After a steady minute the waits begin again with the shortest."""
    child = supervisor.start(python("steady", "import time; time.sleep(60)"))
    for _ in range(3):
        clock.now += 100
        assert child.pid is not None
        os.kill(child.pid, 9)
        events = poll_until(supervisor.poll, what="it ended")
        assert f"restarting in {FIRST_RESTART_S:g} s" in events[0]
        clock.now += FIRST_RESTART_S
        assert supervisor.poll() == ["steady was restarted"]


def test_stop_ends_programs_in_order_and_kills_the_stubborn(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    """Each ends before the next is asked to; in a hurry, one that does not end is killed."""
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
