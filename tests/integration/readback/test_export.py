"""Exports: against the sandbox over real sockets, and against a vendor that a test scripts."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.environment import environment
from support.reading import (
    DAY,
    NAME,
    account,
    breaks_off,
    environment_of,
    fill,
    numbers,
    paths,
    says,
)
from support.vendor import LoopbackVendor
from worker.errors import VendorError
from worker.readback.export import export_events
from worker.sandbox.server import Running, running
from worker.sandbox.settings import SandboxSettings
from worker.vendors.protocol import Request
from worker.vendors.transport import Transport

CURSOR = "AfljfgIJBgBnamF5Kz8NegcBAwxhbCe%2Fbmhhe04BBAVlYjT4YG5reQEATQQrai57K2oue04FAUhnd38%3D"
OK = {"status": "success"}
BUSY = {"status": "fail", "error": "Request still in progress, please retry later", "code": 2}


@pytest.fixture
def sandbox() -> Iterator[Running]:
    """A sandbox of the test's own."""
    with running(SandboxSettings(busy_polls=2)) as started:
        yield started


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where to export to."""
    return tmp_path / "out.jsonl"


def page(number: int, following: str | None = None) -> dict[str, Any]:
    """A page of one event."""
    return OK | {"records": [{"event_props": {"n": number}}], "next_cursor": following}


def files(folder: Path) -> list[str]:
    """What lies there."""
    return sorted(each.name for each in folder.iterdir())


@pytest.mark.parametrize(
    "cursor", [CURSOR, "a%2fb%3d", "a%25b", "a/b=+c", "a#b?c&d=e;f|{}", "%zz%", "a'\"<>`b"]
)
def test_transport_sends_a_cursor_byte_for_byte(vendor: LoopbackVendor, cursor: str) -> None:
    """The request line holds any cursor as the vendor wrote it."""
    transport = Transport(vendor.base_url, timeout_s=5)
    vendor.script(says(OK), says(OK))
    transport.send(Request("GET", f"/1/events.json?cursor={cursor}", {}))
    transport.send(Request("POST", f"/1/events.json?cursor={cursor}", {}, b"{}"))
    transport.close()
    assert paths(vendor) == [f"/1/events.json?cursor={cursor}"] * 2


def test_export_events_follows_the_cursors_to_the_end(sandbox: Running) -> None:
    """The generator waits while the export is in progress, then yields every event."""
    fill(sandbox, 2500)
    events = export_events(
        "product VIEWED", DAY, DAY, batch_size=1000, app=True, destination=account(sandbox.url)
    )
    found = list(events)
    assert [each["event_props"]["n"] for each in found] == list(range(2500))
    assert found[0]["profile"]["os_version"] == ""


def test_export_events_flags_exclude_parts_of_a_record(sandbox: Running) -> None:
    """The flags reach the vendor."""
    fill(sandbox, 1)
    to = account(sandbox.url)
    (event,) = export_events(NAME, DAY, DAY, events=False, profile=False, destination=to)
    assert "event_props" not in event
    assert "profileData" not in event["profile"]


def test_export_events_repeats_the_cursor_while_the_vendor_is_busy(vendor: LoopbackVendor) -> None:
    """In progress, 429, 5xx, nonsense and a broken connection repeat the same request."""
    too_many = says({"status": "fail", "error": "Too many", "code": 429}, 429)
    vendor.script(says(OK | {"cursor": CURSOR}), says(BUSY), too_many, says(b"", 503))
    vendor.script(says(b"<html>"), breaks_off, says(BUSY), says(page(7)))
    (event,) = export_events(NAME, DAY, DAY, destination=account(vendor.base_url))
    assert event == {"event_props": {"n": 7}}
    assert paths(vendor)[1:] == [f"/1/events.json?cursor={CURSOR}"] * 7


def test_export_events_page_too_large_raises_with_a_remedy(
    vendor: LoopbackVendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page is requested once, and the error suggests a smaller batch size."""
    monkeypatch.setattr("worker.vendors.transport.MAX_ANSWER_BYTES", 1000)
    vendor.script(says(OK | {"cursor": "a"}), says(b" " * 2000))
    with pytest.raises(VendorError, match="larger than 64 MiB: use a smaller --batch-size"):
        list(export_events(NAME, DAY, DAY, destination=account(vendor.base_url)))
    assert len(vendor.requests) == 2


KILLER = """
import os, signal, sys
from worker.cli import main
left = int(sys.argv.pop(1))
OURS = ("export_file.py", "export.py")
begun = False
def on_line(frame, event, argument):
    global left
    left -= event == "line"
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return on_line
def on_call(frame, event, argument):
    global begun
    begun = begun or frame.f_code.co_name == "export_to_file"
    return on_line if begun and frame.f_code.co_filename.endswith(OURS) else None
sys.settrace(on_call)
main()
"""


@pytest.fixture
def killed_after(sandbox: Running) -> Callable[[int, Path], int]:
    """Runs `ingest export` and kills it (SIGKILL) at its so-manieth line; gives how it ended."""
    env = environment(environment_of(sandbox.url))

    def run(lines: int, out: Path) -> int:
        question = [NAME, "--from", DAY, "--to", DAY, "--batch-size", "100", "--out", str(out)]
        command = [sys.executable, "-c", KILLER, str(lines), "export", *question]
        done = subprocess.run(command, env=env, capture_output=True, timeout=60, check=False)
        assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
        return done.returncode

    return run


@pytest.mark.timeout(900)
def test_export_killed_at_any_line_has_no_gap_and_no_duplicate(
    sandbox: Running,
    killed_after: Callable[[int, Path], int],
    out: Path,
    rng: random.Random,
    chaos_rounds: int,
) -> None:
    """The same command ends with the file of an undisturbed export, wherever it was killed."""
    fill(sandbox, 500)
    for _ in range(chaos_rounds):
        out.unlink(missing_ok=True)
        kills = 0
        while killed_after(rng.randrange(1, 600), out):
            kills += 1
            assert kills < 100
        assert numbers(out.read_bytes()) == list(range(500)), kills
        assert files(out.parent) == [out.name]


def test_export_command_without_out_prints_the_events(sandbox: Running) -> None:
    """Events go to standard output, and nothing else does."""
    fill(sandbox, 300)
    command = [Path(sys.prefix, "bin", "ingest"), "export", NAME, "--from", DAY, "--to", DAY]
    done = subprocess.run(
        [*map(str, command), "--format", "csv", "--column", "event_props.n"],
        env=environment(environment_of(sandbox.url)),
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.decode().split() == ["event_props.n", *map(str, range(300))]
    assert done.stderr == b""


def test_export_command_on_a_terminal_shows_progress(sandbox: Running, out: Path) -> None:
    """Standard error shows the number of events of the total."""
    fill(sandbox, 3000)
    leader, follower = os.openpty()
    command = [str(Path(sys.prefix, "bin", "ingest")), "export", NAME, "--from", DAY, "--to", DAY]
    with os.fdopen(leader, "rb", buffering=0) as terminal:
        process = subprocess.Popen(
            [*command, "--out", str(out), "--batch-size", "100"],
            env=environment(environment_of(sandbox.url, TERM="xterm", COLUMNS="120")),
            stderr=follower,
        )
        os.close(follower)
        shown = b""
        while chunk := _read(terminal):
            shown += chunk
        assert process.wait(60) == 0
    assert b"3000/3000" in shown
    assert f"{out.name}: 3000 events".encode() in shown.replace(b"\r\n", b"")


def _read(terminal: Any) -> bytes:
    try:
        found: bytes = terminal.read(65536)
    except OSError:  # Linux' word for the end of a terminal
        return b""
    return found
