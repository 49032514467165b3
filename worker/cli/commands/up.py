"""`ingest up`: the whole system in the foreground, for trials and development."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click

from .. import options
from ..exit_codes import FAILED

# A trial must end on its own, even if something is wrong with this machine.
_SAMPLE_DEADLINE_S = 170.0


def _port(server: str, default: int, serves: str, **more: Any) -> Callable[..., Any]:
    return click.option(
        f"--{server}-port",
        type=click.IntRange(1, 65535),
        metavar="N",
        default=default,
        show_default=True,
        help=f"Port of {serves}; if it is in use, another one is taken.",
        **more,
    )


@click.command
@click.option(
    "--exit-when-drained",
    is_flag=True,
    help="Exit with code 0 once every record is delivered or dead.",
)
@options.timeout(
    "With --exit-when-drained: give up after S seconds, with exit code 1.  "
    f"[default: {_SAMPLE_DEADLINE_S:g} in sandbox mode, else never]"
)
@click.option(
    "--sample/--no-sample",
    default=True,
    show_default=True,
    help="Send sample traffic in sandbox mode.",
)
@_port("sandbox", 8090, "the sandbox")
@_port("flower", 5555, "Flower", envvar="FLOWER_PORT")
@_port("web", 8000, "the gateway and the dashboard", envvar="PORT")
@click.pass_context
def up(ctx: click.Context, /, **chosen: Any) -> None:
    """Run worker, beat, gateway and Flower in the foreground until Ctrl-C.

    Without REDIS_URL, a private Redis keeps its data in ./var. Without any vendor credentials, a
    local sandbox stands in for the vendors and gets sample traffic. Logs are in ./var/log. Records
    that are not delivered yet are kept for the next start.
    """
    from worker.local.system import LocalSystem

    from .up_session import UpSession

    system = LocalSystem(os.environ)
    if not UpSession(system, sample_timeout_s=_SAMPLE_DEADLINE_S, **chosen).run():
        ctx.exit(FAILED)
