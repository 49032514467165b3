"""A short chaos run; `make chaos` runs the same for longer."""

from __future__ import annotations

import random
import sys

from support.environment import ROOT, environment
from support.processes import Processes


def test_chaos_run_loses_nothing(processes: Processes, rng: random.Random) -> None:
    """Workers, a beat and Redis are killed and the vendor is hostile, but the ledger adds up."""
    size = ["--events", "5000", "--profiles", "500", "--workers", "2"]
    kills = ["--worker-kills", "6", "--beat-kills", "1", "--redis-kills", "1"]
    chaos = processes.run(
        [sys.executable, "-m", "chaos", *size, *kills, "--seed", str(rng.randrange(2**32))],
        env=environment({"PYTHONPATH": str(ROOT / "tests")}),
        name="chaos",
    )
    try:
        ended = chaos.popen.wait(240)
    finally:
        if chaos.returncode is None:
            chaos.stop()  # it stops its own processes
        print(chaos.output())  # noqa: T201 - pytest shows it when the test fails
    assert ended == 0, chaos.output()
    assert "the promise was kept" in chaos.output()
