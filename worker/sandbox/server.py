"""The sandbox's server: the app, `serve` for ``ingest sandbox``, and `running` for tests."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

import uvicorn
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from worker.sandbox.admin_api import AdminApi
from worker.sandbox.bloomreach_api import BloomreachApi
from worker.sandbox.clevertap_api import CleverTapApi
from worker.sandbox.endpoint import TRANSPORT, VendorEndpoint
from worker.sandbox.settings import SandboxSettings
from worker.sandbox.state import SandboxState
from worker.sandbox.web_page import page_route

HOST, PORT = "127.0.0.1", 8090
_LOOPBACK = ("127.", "localhost", "::1")
_JOIN_S = 10.0


class SandboxApp:
    """The ASGI application; tests in the same process may look at its ``state``."""

    def __init__(self, state: SandboxState) -> None:
        self.state = state
        self._app = Starlette(routes=_routes(state))

    def routes(self) -> list[str]:
        """Return every path it serves."""
        return [route.path for route in self._app.routes if isinstance(route, Route)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # uvicorn's `send` is a method of the object that holds the connection. ASGI cannot break
        # a connection, and Starlette wraps `send`, so take the transport here, outermost.
        cycle = getattr(send, "__self__", None)
        scope[TRANSPORT] = getattr(cycle, "transport", None)
        await self._app(scope, receive, send)


def create_app(settings: SandboxSettings | None = None) -> SandboxApp:
    """Create an empty sandbox."""
    return SandboxApp(SandboxState(settings or SandboxSettings()))


def serve(host: str = HOST, port: int = PORT) -> None:
    """Serve in the foreground until interrupted. Port 0 chooses a free one and prints it.

    Settings come from the environment: ValueError for an invalid one, OSError if the port is in
    use. Records are kept in memory only.
    """
    settings = SandboxSettings.from_env(os.environ)
    with _listening(host, port) as listener:
        sys.stderr.write(
            f"sandbox of CleverTap and Bloomreach on {url(listener)} "
            f"(account {settings.account_id}): "
            "a development tool, not the vendors; it forgets everything when it stops\n"
        )
        if not host.startswith(_LOOPBACK):
            sys.stderr.write(f"sandbox: {host} is not loopback: other machines can reach it\n")
        sys.stderr.flush()
        # uvicorn stops cleanly on Ctrl-C, then raises the signal again.
        with suppress(KeyboardInterrupt):
            _server(create_app(settings)).run(sockets=[listener])


@dataclass(frozen=True, slots=True)
class Running:
    """A sandbox in a thread of this process."""

    url: str
    state: SandboxState


@contextmanager
def running(settings: SandboxSettings | None = None) -> Iterator[Running]:
    """Run a sandbox on a free loopback port until the block ends. For tests."""
    app = create_app(settings)
    with _listening(HOST, 0) as listener:
        server = _server(app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        # The socket listens already: a client that comes before the loop waits in its backlog.
        thread.start()
        try:
            yield Running(url(listener), app.state)
        finally:
            server.should_exit = True
            thread.join(_JOIN_S)


def url(listener: socket.socket) -> str:
    """Return the address of a listening socket, without a path."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=512)
    # uvicorn writes an answer's head and body apart, and asyncio turns Nagle's algorithm off only
    # for sockets that name their protocol, which these do not: 44 ms a request, measured.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _server(app: SandboxApp) -> uvicorn.Server:
    # Requests held up by a delay fault must not hold up the shutdown.
    config = uvicorn.Config(
        app, access_log=False, lifespan="off", log_level="warning", timeout_graceful_shutdown=2
    )
    return uvicorn.Server(config)


def _routes(state: SandboxState) -> list[BaseRoute]:
    clevertap, bloomreach = CleverTapApi(state), BloomreachApi(state)
    latency_ms, project = state.settings.latency_ms, "/track/v2/projects/{token}"
    upload = VendorEndpoint(state, clevertap, clevertap.upload, state.uploads, latency_ms)
    read = partial(VendorEndpoint, state, clevertap, limiter=state.reads)
    track = partial(VendorEndpoint, state, bloomreach, limiter=state.tracking)
    return [
        Route("/1/upload", upload),
        Route("/1/events.json", read(clevertap.events)),
        Route("/1/counts/events.json", read(clevertap.counts)),
        Route("/1/{rest:path}", read(clevertap.unknown)),
        Route(f"{project}/customers/events", track(bloomreach.event)),
        Route(f"{project}/customers", track(bloomreach.customer)),
        Route(f"{project}/batch", track(bloomreach.batch)),
        Route(f"{project}/system/time", track(bloomreach.time)),
        Route("/track/{rest:path}", track(bloomreach.unknown)),
        *AdminApi(state).routes(),
        page_route(state),
    ]
