"""Standard output takes everything or says that it did not: real pipes, devices and signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.environment import environment
from support.polling import poll_until
from support.reading import DAY, NAME, environment_of, fill, numbers
from worker.sandbox.server import Running, running
from worker.sandbox.settings import SandboxSettings

INGEST = str(Path(sys.prefix, "bin", "ingest"))
DAYS = ("--from", DAY, "--to", DAY)
EVENTS = 2000


@pytest.fixture
def sandbox() -> Iterator[Running]:
    """A sandbox with more events than a pipe holds."""
    with running(SandboxSettings()) as started:
        fill(started, EVENTS, filler="x" * 400)
        yield started


def begin(sandbox: Running, stdout: int, *command: str) -> subprocess.Popen[bytes]:
    """Start `ingest` as a container does: unbuffered."""
    env = environment(environment_of(sandbox.url, PYTHONUNBUFFERED="1"))
    return subprocess.Popen(
        [INGEST, *command], env=env, stdout=stdout, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    )


def state(pid: int) -> str:
    """The letter that the kernel has for what a process does."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.parametrize("blocking", [True, False])
def test_export_to_a_slow_reader_loses_no_byte(sandbox: Running, blocking: bool) -> None:
    """The pipe fills again and again, its writer is stopped, or it is non-blocking."""
    reading_end, writing_end = os.pipe()
    os.set_blocking(writing_end, blocking)
    process = begin(sandbox, writing_end, "export", NAME, *DAYS, "--batch-size", "700")
    os.close(writing_end)
    parts = []
    with process, os.fdopen(reading_end, "rb", buffering=0) as pipe:
        while part := pipe.read(30_000):
            parts.append(part)
            process.send_signal(signal.SIGSTOP)
            poll_until(lambda: state(process.pid) in "TZ", what="it stops")
            process.send_signal(signal.SIGCONT)
    assert process.wait(60) == 0
    assert numbers(b"".join(parts)) == list(range(EVENTS))


@pytest.mark.parametrize("command", [("export", NAME, *DAYS), ("count", NAME, *DAYS)])
def test_command_on_a_full_disk_reports_one_line(
    sandbox: Running, command: tuple[str, ...]
) -> None:
    """It exits with 1 and a line, not with a traceback."""
    with Path("/dev/full").open("wb") as full:
        process = begin(sandbox, full.fileno(), *command)
        _, reported = process.communicate(timeout=60)
    assert process.returncode == 1
    assert reported == b"Error: cannot write to standard output: No space left on device\n"


@pytest.mark.parametrize("command", ["export", "count"])
def test_command_with_closed_output_reports_one_line(sandbox: Running, command: str) -> None:
    """`>&-` is reported before any request."""
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$0" {command} "$@" >&-', INGEST, NAME, *DAYS],
        env=environment(environment_of(sandbox.url)),
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, b"Error: standard output is closed\n")
    assert not sandbox.state.ledger.of("clevertap").requests
