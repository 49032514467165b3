"""`ingest sandbox`: the local stand-in of both vendors, in the foreground."""

from __future__ import annotations

import click

from ..console.listening import ANY_PORT, HOST, extra, listening
from ..exit_codes import Failure


@click.command
@click.option(
    "--port",
    type=ANY_PORT,
    default=8090,
    show_default=True,
    help="0 takes a free one, and tells which.",
)
@click.option("--host", default=HOST, show_default=True)
def sandbox(port: int, host: str) -> None:
    """Run the local stand-in of both vendors until Ctrl-C.

    It takes uploads, refuses what the vendors refuse, and shows on a page what it received. It is
    a development tool: it forgets everything when it stops. INGEST_SANDBOX_... variables set how
    it behaves.
    """
    with extra("sandbox"):
        from worker.sandbox.server import serve
    try:
        with listening(host, port):
            serve(host, port)
    except ValueError as error:
        raise Failure(str(error)) from error
