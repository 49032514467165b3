"""`ingest up`: the whole system in the foreground, for trying and developing."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click

from .. import options
from ..exit_codes import FAILED

# Trying it out must end by itself, also when something is wrong with this machine.
_SAMPLE_DEADLINE_S = 170.0


def _port(name: str, usual: int, whose: str = "", **more: Any) -> Callable[..., Any]:
    return click.option(
        name,
        type=click.IntRange(1, 65535),
        default=usual,
        show_default=True,
        help=f"{whose}Another is taken when this one is in use.",
        **more,
    )


@click.command
@click.option(
    "--exit-when-drained",
    is_flag=True,
    help="End by itself, with exit code 0, once everything is settled.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=options.Seconds(),
    metavar="S",
    help="With --exit-when-drained: give up after S seconds, with exit code 1. "
    f"[default: {_SAMPLE_DEADLINE_S:g} in sandbox mode, else never]",
)
@click.option(
    "--sample/--no-sample",
    default=True,
    show_default=True,
    help="Send sample traffic in sandbox mode.",
)
@_port("--sandbox-port", 8090)
@_port("--flower-port", 5555, envvar="FLOWER_PORT")
@_port("--web-port", 8000, "The gateway's and the dashboard's. ", envvar="PORT")
@click.pass_context
def up(
    ctx: click.Context,
    *,
    exit_when_drained: bool,
    timeout_s: float | None,
    sample: bool,
    sandbox_port: int,
    flower_port: int,
    web_port: int,
) -> None:
    """Run worker, beat, gateway and Flower in the foreground until Ctrl-C.

    Without REDIS_URL a private Redis keeps its data in ./var; without a destination's secrets a
    local sandbox stands in for the vendors, and sample traffic is sent to it. Logs are in
    ./var/log. Records that are not delivered yet are kept for the next start.
    """
    from worker.local.system import LocalSystem

    from .up_session import Foreground, UpOptions

    wishes = UpOptions(
        sample=sample,
        exit_when_drained=exit_when_drained,
        timeout_s=timeout_s,
        sample_timeout_s=_SAMPLE_DEADLINE_S,
        sandbox_port=sandbox_port,
        flower_port=flower_port,
        web_port=web_port,
    )
    if not Foreground(LocalSystem(os.environ), wishes).run():
        ctx.exit(FAILED)
