"""The gateway's process: `python -m worker.gateway`, with options that win over the environment."""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Sequence
from functools import partial
from multiprocessing.process import BaseProcess

import uvicorn

from worker.errors import IngestError
from worker.settings.settings import ProcessSettings
from worker.telemetry.error_reports import report_errors
from worker.telemetry.logs import configure

from .app import build_components, create_app
from .server.connection_limits import LimitedHttpProtocol
from .server.middleware import Middleware
from .settings import GatewaySettings

# Requests that run at a stop signal get this long, plus five times the Redis timeout: for the keys,
# for the call before their own and its repeat, and for their own and its repeat.
STOP_WITHIN_S = 5


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a stop signal; return the exit code."""
    options = _options(arguments)
    try:
        _configure_logs()
        settings = GatewaySettings.from_env()
        build_components()  # report a wrong environment before anything listens
    except IngestError as error:
        sys.stderr.write(f"gateway: {error}\n")
        return 1
    uvicorn.run(
        "worker.gateway.__main__:application",
        factory=True,
        host=options.host or settings.host,
        port=settings.port if options.port is None else options.port,
        workers=options.processes or settings.processes,
        loop="uvloop",
        http=partial(LimitedHttpProtocol, settings=settings),  # type: ignore[arg-type]
        ws="none",
        lifespan="on",
        access_log=False,
        server_header=False,
        log_config=None,
        backlog=2048,
        timeout_keep_alive=65,  # longer than the 60 s of the usual load balancers
        timeout_graceful_shutdown=STOP_WITHIN_S + math.ceil(5 * settings.redis_timeout_s),
    )
    return 0


def application() -> Middleware:
    """Create the application in the process that serves it, with its logs and error reports."""
    _configure_logs()
    report_errors()
    if (parent := multiprocessing.parent_process()) is not None:
        threading.Thread(target=_stop_after, args=(parent,), daemon=True).start()
    return create_app()


def _stop_after(parent: BaseProcess) -> None:
    """Stop this process after its parent: a killed parent passes no signal on, and its port could
    not be served again."""
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _configure_logs() -> None:
    configure(as_json=ProcessSettings.from_env().log_format == "json")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m worker.gateway", description=__doc__)
    parser.add_argument("--host", help="where to listen (INGEST_GATEWAY_HOST)")
    parser.add_argument("--port", type=int, help="PORT, or 8000")
    parser.add_argument("--processes", type=int, help="INGEST_GATEWAY_PROCESSES, or 1")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
