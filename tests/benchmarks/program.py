"""The command: sections, rounds, and where the figures are written."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import cost, drain, end_to_end, enqueue
from benchmarks.program_options import Options
from benchmarks.report import show
from benchmarks.results import Results
from benchmarks.setup import SetupFactory
from benchmarks.targets import Target, targets
from support.environment import ROOT, clear_own_variables
from worker.connections.embedded.processes import preferred_binary
from worker.telemetry.logs import configure

Section = Callable[[SetupFactory, Results, Options], None]
SECTIONS: Mapping[str, Section] = {
    "enqueue": enqueue.run,
    "drain": drain.run,
    "end-to-end": end_to_end.run,
    "cost": cost.run,
}


def _parsed() -> tuple[Options, Path]:
    parser = argparse.ArgumentParser(description="Measure against the floor and the alternatives.")
    parser.add_argument("--quick", action="store_true", help="about a minute, not a quarter hour")
    parser.add_argument("--only", action="append", choices=SECTIONS, help="a section; may repeat")
    parser.add_argument("--rounds", type=int, help="of the fast contenders (quick: 3, else 5)")
    parser.add_argument("--json", type=Path, default=ROOT / "var" / "bench.json", metavar="FILE")
    given = parser.parse_args()
    rounds = given.rounds or (3 if given.quick else 4)
    return Options(given.quick, rounds, tuple(given.only or SECTIONS)), given.json


def _facts(options: Options) -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "load before": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "celery": version("celery"),
        "celery of celery-batches": drain.BATCHED.version("celery"),
        "redis": str(preferred_binary()),
        "run": "quick" if options.quick else "full",
        "rounds": options.rounds,
    }


def _write(path: Path, results: Results, found: list[Target]) -> None:
    reported = [
        {
            "text": each.text,
            "value": each.value,
            "bound": each.bound,
            "at_least": each.at_least,
            "holds": each.holds,
        }
        for each in found
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**results.as_json(), "targets": reported}, indent=1) + "\n")


def main() -> int:
    """Run the requested sections; return 0 whether or not the targets hold."""
    options, path = _parsed()
    clear_own_variables(os.environ)
    configure("ERROR")
    console = Console(width=None if os.isatty(1) else 130)
    results = Results(_facts(options))
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    began = time.monotonic()
    try:
        for name in options.only:
            console.print(f"{time.monotonic() - began:4.0f} s  {name}")
            SECTIONS[name](SetupFactory(folder / name), results, options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    results.facts["load after"] = round(os.getloadavg()[0], 1)
    results.facts["seconds"] = round(time.monotonic() - began)
    found = targets(results)
    show(results, found, console)
    _write(path, results, found)
    console.print(f"written to {path}")
    return 0
