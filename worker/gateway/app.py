"""The gateway as an ASGI application: `uvicorn --factory worker.gateway.app:create_app`.

It is composed from routers: functions that make routes out of the process's parts. A router of
another package (the dashboard) is one more in `create_app`'s list.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request as StarletteRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from worker.dashboard.routes import routes as dashboard_routes

from .api.bloomreach import CUSTOMERS, EVENTS, Batch, Single, SystemTime
from .api.clevertap import Upload
from .api.idempotency import HEADER
from .components import Components, build_components
from .operations.health import Alive, Ready
from .operations.openapi import OpenApi
from .server.access_log import access_log
from .server.endpoint import Endpoint
from .server.middleware import Middleware, Observer

Router = Callable[[Components], Sequence[BaseRoute]]


def vendors(parts: Components) -> Sequence[BaseRoute]:
    """The vendors' calls; CleverTap's first, for routes are tried in order."""
    handler, settings = parts.handler, parts.settings
    return _routes(
        Upload(handler, settings),
        Single(EVENTS, handler, settings),
        Single(CUSTOMERS, handler, settings),
        Batch(handler, settings),
        SystemTime(handler, settings),
    )


def operations(parts: Components) -> Sequence[BaseRoute]:
    """What load balancers and developers ask."""
    tick_s, apart_s = parts.gateway.ready_tick_s, parts.settings.drain_interval_s
    return _routes(
        Alive(),
        # Ticks that are a minute apart by the configuration are no reason to take nothing in.
        Ready(parts.client, list(parts.settings.destinations), tick_s and tick_s + 3 * apart_s),
        OpenApi(parts.gateway),
    )


def dashboard(parts: Components) -> Sequence[BaseRoute]:
    """The operators' pages; only one that says so when they have no password."""
    return dashboard_routes(parts.settings, parts.dashboard)


def metrics(parts: Components) -> Sequence[BaseRoute]:
    """What Prometheus asks, where the extra `metrics` is installed."""
    if find_spec("prometheus_client") is None:
        return []
    from .operations.metrics import Metrics

    return _routes(Metrics(parts.settings, parts.metrics_token))


ROUTERS: Sequence[Router] = (vendors, operations, metrics, dashboard)


def create_app(
    environ: Mapping[str, str] | None = None,
    *,
    routers: Sequence[Router] = ROUTERS,
    observers: Sequence[Observer] = (),
) -> Middleware:
    """The application for an environment, the process's own by default.

    SettingsError when the environment is wrong. ``observers`` are told of every request that was
    answered. One application serves one event loop.
    """
    parts = build_components(environ)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await parts.client.aclose()

    app = Starlette(
        routes=[route for router in routers for route in router(parts)],
        exception_handlers={HTTPException: _http_error},
        lifespan=lifespan,
    )
    # A redirect would send a client, with its key, to the address that its Host header names,
    # and away from TLS: what stands before the gateway adds that.
    app.router.redirect_slashes = False
    watching = access_log(parts.gateway.access_log)
    return Middleware(
        _with_cors(app, parts.gateway.cors_origins),
        [*([watching] if watching else []), *observers],
    )


def _with_cors(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """Let pages of these origins call; browsers send no request of others."""
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=list(origins),
        allow_methods=["GET", "POST"],
        allow_headers=[
            "Authorization",
            "Content-Encoding",
            HEADER.decode(),
            "X-CleverTap-Account-Id",
            "X-CleverTap-Passcode",
        ],
        expose_headers=["Retry-After", "Idempotency-Replayed"],
    )


def _routes(*endpoints: Endpoint) -> list[BaseRoute]:
    return [Route(door.path, door) for door in endpoints]


async def _http_error(_: StarletteRequest, error: Exception) -> Response:
    """No such path, in CleverTap's shape; the path is not repeated: it may hold anything."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    text = "Not found" if status == 404 else "Refused"
    return JSONResponse({"status": "fail", "error": text, "code": status}, status)
