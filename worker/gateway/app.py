"""The gateway as an ASGI application: `uvicorn --factory worker.gateway.app:create_app`.

It is composed from routers: functions that make routes from the process's components. A router of
another package (the dashboard) is one more in `create_app`'s list.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import orjson
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from worker.connections.clients import async_producer_client, redis_url
from worker.dashboard.routes import routes as dashboard_routes
from worker.dashboard.settings import DashboardSettings
from worker.settings.environment import secret_of
from worker.settings.settings import Settings
from worker.vendors.secret import Secret

from .api.bloomreach import CUSTOMERS, EVENTS, BatchCommands, SingleCommand, SystemTime
from .api.clevertap import CleverTapUpload
from .api.enqueuer import HEADER
from .api.request_handler import RequestHandler
from .operations import openapi
from .operations.health import ALIVE, Ready
from .server.endpoint import Endpoint, FixedResponse
from .server.middleware import Middleware, Observer, access_log
from .settings import GatewaySettings


@dataclass(frozen=True, slots=True)
class Components:
    """What routers make their routes from; nothing connects before it is used."""

    settings: Settings
    gateway: GatewaySettings
    dashboard: DashboardSettings
    client: Redis
    handler: RequestHandler
    metrics_token: Secret


Router = Callable[[Components], Sequence[BaseRoute]]


def build_components(environ: Mapping[str, str] | None = None) -> Components:
    """Build the components for an environment; SettingsError when it is wrong."""
    settings, gateway = Settings.from_env(environ), GatewaySettings.from_env(environ)
    dashboard = DashboardSettings.from_env(environ)
    client = async_producer_client(redis_url(settings), gateway.redis_timeout_s)
    handler = RequestHandler(settings, gateway, client)
    token = secret_of("INGEST_METRICS_TOKEN", environ)
    return Components(settings, gateway, dashboard, client, handler, token)


def vendors(components: Components) -> Sequence[BaseRoute]:
    """Make the vendors' routes; CleverTap's first, for routes are tried in order."""
    handler, settings = components.handler, components.settings
    return _routes(
        CleverTapUpload(handler, settings),
        SingleCommand(EVENTS, handler, settings),
        SingleCommand(CUSTOMERS, handler, settings),
        BatchCommands(handler, settings),
        SystemTime(handler, settings),
    )


def operations(components: Components) -> Sequence[BaseRoute]:
    """Make the routes for load balancers and developers."""
    settings, tick_s = components.settings, components.gateway.ready_tick_s
    # If ticks are configured to be a minute apart, that is no reason to reject records.
    max_age_s = tick_s and tick_s + 3 * settings.drain_interval_s
    document = orjson.dumps(openapi.document(components.gateway))
    return _routes(
        ALIVE,
        Ready(components.client, list(settings.destinations), max_age_s),
        FixedResponse("/openapi.json", document),
    )


def dashboard(components: Components) -> Sequence[BaseRoute]:
    """Make the operators' pages; without a password, a single page that says so."""
    return dashboard_routes(components.settings, components.dashboard)


def metrics(components: Components) -> Sequence[BaseRoute]:
    """Make the route for Prometheus, if the extra `metrics` is installed."""
    if find_spec("prometheus_client") is None:
        return []
    from .operations.metrics import Metrics

    return _routes(Metrics(components.settings, components.metrics_token))


ROUTERS: Sequence[Router] = (vendors, operations, metrics, dashboard)


def create_app(
    environ: Mapping[str, str] | None = None,
    *,
    routers: Sequence[Router] = ROUTERS,
    observers: Sequence[Observer] = (),
) -> Middleware:
    """Create the application for an environment, by default the process's own.

    SettingsError when the environment is wrong. ``observers`` are called after every request. One
    application serves one event loop.
    """
    components = build_components(environ)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await components.client.aclose()

    app = Starlette(
        routes=[route for router in routers for route in router(components)],
        exception_handlers={HTTPException: _http_error},
        lifespan=lifespan,
    )
    # A redirect would send a client, with its key, to the address in its Host header, and to plain
    # HTTP: TLS is added in front of the gateway.
    app.router.redirect_slashes = False
    gateway = components.gateway
    return Middleware(
        _with_cors(app, gateway.cors_origins), [*access_log(gateway.access_log), *observers]
    )


def _with_cors(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """Allow pages of these origins to call; browsers send no request from others."""
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
    return [Route(endpoint.path, endpoint) for endpoint in endpoints]


async def _http_error(_: Request, error: Any) -> Response:
    """Answer an unknown path in CleverTap's shape, without the path: it may hold anything."""
    status: int = error.status_code
    text = "Not found" if status == 404 else "Refused"
    return JSONResponse({"status": "fail", "error": text, "code": status}, status)
