"""`ingest sandbox`: a local stand-in for both vendors, in the foreground."""

from __future__ import annotations

import click

from .. import options
from ..exit_codes import Failure, listening, needs_extra


@click.command
@click.option(
    "--port",
    type=options.ANY_PORT,
    default=8090,
    show_default=True,
    help="0 takes a free port, and prints it.",
)
@options.host
def sandbox(port: int, host: str) -> None:
    """Run a local stand-in for both vendors until Ctrl-C.

    It accepts uploads, rejects what the vendors reject, and shows on a web page what it received.
    It is for development: it forgets everything when it stops. INGEST_SANDBOX_... variables set
    its behaviour.
    """
    with needs_extra("sandbox"):
        from worker.sandbox.server import serve
    try:
        with listening(host, port):
            serve(host, port)
    except ValueError as error:
        raise Failure(str(error)) from error
