"""The command `ingest`, run as its users run it: a process, its streams and its exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from support.environment import ROOT, environment

INGEST = Path(sys.prefix, "bin", "ingest")
CREDENTIALS = {"CLEVERTAP_ACCOUNT_ID": "TEST-ACC-OUNT", "CLEVERTAP_PASSCODE": "s3cret-passcode"}
Finished = subprocess.CompletedProcess[str]


@dataclass(frozen=True, slots=True)
class RunningCommand:
    """A running command, and its streams."""

    process: subprocess.Popen[str]
    stdin: IO[str]
    stdout: IO[str]
    stderr: IO[str]


class Cli:
    """Runs commands with one environment; ``cwd`` is where the private Redis would be."""

    def __init__(self, env: Mapping[str, str], cwd: Path = ROOT) -> None:
        self.env = dict(env)
        self.cwd = cwd

    def __call__(self, *arguments: str, stdin: str = "", **env: str) -> Finished:
        """Run one command to its end."""
        return subprocess.run(
            [str(INGEST), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=environment({**self.env, **env}),
            cwd=self.cwd,
        )

    @contextmanager
    def begin(self, *arguments: str, **env: str) -> Iterator[RunningCommand]:
        """Start a command and talk to it; kill it if it still runs when the block ends."""
        with subprocess.Popen(
            [str(INGEST), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment({**self.env, **env}),
            cwd=self.cwd,
        ) as process:
            assert process.stdin
            assert process.stdout
            assert process.stderr
            try:
                yield RunningCommand(process, process.stdin, process.stdout, process.stderr)
            finally:
                process.kill()

    def status(self, destination: str = "clevertap") -> dict[str, Any]:
        """What `status --json` shows of a destination."""
        found: dict[str, Any] = json.loads(self("status", "--json").stdout)["destinations"]
        return dict(found[destination])


def json_lines(records: Iterable[object]) -> str:
    """Records as JSON Lines; text stands for itself."""
    return "".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records)


def stderr_objects(finished: Finished) -> list[dict[str, Any]]:
    """The JSON objects on a command's standard error."""
    lines = finished.stderr.splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def event(number: int, name: str = "Product viewed") -> dict[str, Any]:
    """An event in CleverTap's shape."""
    return {
        "identity": f"u{number}",
        "type": "event",
        "evtName": name,
        "evtData": {"number": number},
    }


def profile(number: int) -> dict[str, Any]:
    """A profile update in CleverTap's shape."""
    return {"identity": f"u{number}", "type": "profile", "profileData": {"Number": number}}


def numbers(records: Iterable[bytes]) -> list[int]:
    """The numbers in stored events, in order."""
    bodies = (record.partition(b"\n")[2] for record in records)
    return [json.loads(body)["evtData"]["number"] for body in bodies]
