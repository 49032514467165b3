"""`ingest sandbox`: the local stand-in of both vendors, in the foreground."""

from __future__ import annotations

import os

import click

from .exits import Failure


@click.command
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8090,
    show_default=True,
    help="0 takes a free one, and tells which.",
)
@click.option("--host", default="127.0.0.1", show_default=True)
def sandbox(port: int, host: str) -> None:
    """Run the local stand-in of both vendors until Ctrl-C.

    It takes uploads, refuses what the vendors refuse, and shows on a page what it received. It is
    a development tool: it forgets everything when it stops. INGEST_SANDBOX_... variables set how
    it behaves.
    """
    try:
        from worker.sandbox.server import serve
    except ImportError as error:
        raise Failure(f"needs the extra `sandbox` ({error.name} is not installed)") from error
    try:
        serve(host, port)
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise Failure(f"cannot listen on {host} port {port}: {why}") from error
    except ValueError as error:
        raise Failure(f"INGEST_SANDBOX_...: {error}") from error
