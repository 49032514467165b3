"""`python -m chaos`: break things for minutes, print the ledger; exit 0 if the promise was kept."""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from support.environment import clear_own_variables
from support.polling import poll_until
from worker.connections.clients import operator_client

from .result import Result, dead_letters
from .scene import Plan, Scene

DRAIN_DEADLINE_S = 300.0


def _plan() -> Plan:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    for each in fields(Plan):
        default = random.SystemRandom().randrange(2**32) if each.name == "seed" else each.default
        parser.add_argument(f"--{each.name.replace('_', '-')}", type=int, default=default)
    return Plan(**vars(parser.parse_args()))


def _burn(scene: Scene) -> None:
    """Kill one process after another; the web apps send their share in between."""
    plan = scene.plan
    kills = (
        [scene.kill_worker] * plan.worker_kills
        + [scene.kill_beat] * plan.beat_kills
        + [scene.kill_redis] * plan.redis_kills
    )
    scene.rng.shuffle(kills)
    share = (plan.events + plan.profiles) // (len(kills) + 1)
    for number, kill in enumerate(kills, 1):
        scene.allow(share)
        kill()
        if sys.stderr.isatty() or number % 10 == 0:
            print(f"{number} of {len(kills)} kills", file=sys.stderr, flush=True)


def _happened(
    scene: Scene, result: Result, endings: list[int], took_s: float
) -> Iterator[tuple[str, str]]:
    plan = scene.plan
    yield (
        "run",
        " ".join(f"--{f.name.replace('_', '-')} {getattr(plan, f.name)}" for f in fields(Plan)),
    )
    yield "took", f"{took_s:.0f} s, on {scene.redis_version}"
    yield (
        "SIGKILLs",
        f"{plan.worker_kills} worker, {plan.beat_kills} beat, {plan.redis_kills} Redis",
    )
    ended = {kept.name: dict(kept.endings) for kept in (*scene.workers, *scene.beats)}
    yield "endings before the last", f"{ended}"
    yield "workers' exit codes at the end", f"{endings}"
    yield "conservation samples", f"{scene.samples}, of which {scene.wrong_samples} do not add up"
    yield "flood pauses resumed", f"{scene.resumed}"
    yield from result.rows()


def _broken(scene: Scene, result: Result, endings: list[int]) -> list[str]:
    broken = list(result.broken())
    if scene.wrong_samples:
        broken.append("the places did not add up on the way")
    if any(endings):
        broken.append("a worker did not exit cleanly on SIGTERM")
    return broken


def main() -> int:
    """Run, print the result and return the exit code."""
    clear_own_variables(os.environ)  # a developer's own settings must not affect the run
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped by a signal"))
    plan, began = _plan(), time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    print(f"seed {plan.seed}, logs in {folder}", file=sys.stderr, flush=True)
    with Scene(plan, folder) as scene:
        _burn(scene)
        producers = scene.finish_producers(DRAIN_DEADLINE_S)
        poll_until(scene.drained, DRAIN_DEADLINE_S, "everything is settled", every_s=0.5)
        endings = scene.stop()
        with operator_client(scene.redis.url) as client:
            dead = dead_letters(client, scene.destination)
        result = Result(producers, scene.ledger, dead, scene.status())
    for name, value in _happened(scene, result, endings, time.monotonic() - began):
        print(f"{name:36} {value}")
    broken = _broken(scene, result, endings)
    print("the promise was kept" if not broken else "BROKEN: " + "; ".join(broken))
    if not broken:
        scene.clear()
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
