"""The dashboard's routes, for the gateway to mount."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from worker.connections.clients import operator_client, redis_url
from worker.monitoring.overview import SCAN_BUDGET, DestinationDiscovery
from worker.settings.settings import Settings

from .audit_log import AuditLog
from .context import Context
from .dead_letter import DeadLetterPage
from .endpoint import HEADERS, FormRequest, Handler, Predicate, endpoint, not_found, page, user_page
from .group import GroupPage, show_groups
from .login import LOGOUT, Login, LoginThrottle
from .overview import OverviewPages
from .sessions import Sessions
from .settings import DashboardSettings

# How long to wait for Redis, and once more: a person waits before an empty page.
_REDIS_TIMEOUT_S = 2.0
# A mistyped path below these gets a page, not the gateway's JSON.
_FOLDERS = ("/destinations", "/dead-letters", "/records", "/audit")
_ASSETS = {
    "dashboard.css": "text/css; charset=utf-8",
    "panels.js": "text/javascript; charset=utf-8",
    "live.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


def routes(settings: Settings, dashboard: DashboardSettings) -> Sequence[BaseRoute]:
    """Return all routes, or one that says the dashboard is off; connects on first use."""
    assets = [_asset(*each) for each in _ASSETS.items()]
    if not dashboard.on:
        return [*_route("/", get=lambda _: page(200, "off.html")), *assets]
    client = operator_client(redis_url(settings), _REDIS_TIMEOUT_S)
    audit_log, discovery = AuditLog(client), DestinationDiscovery(client, SCAN_BUDGET)
    context = Context(settings, client, discovery, audit_log)
    login = Login(Sessions(client, dashboard), LoginThrottle(client), audit_log)
    overview = OverviewPages(context, dashboard.refresh_s)

    def audit(request: FormRequest) -> Response:
        return user_page(request, "audit.html", "audit", {"entries": [*audit_log.latest()]})

    def guarded(path: str, get: Handler, post: Handler | None = None) -> list[BaseRoute]:
        act = post and login.guarded(post)
        return _route(path, get=login.guarded(get), post=act, is_signed_in=login.session)

    def shown_by(kind: type[GroupPage | DeadLetterPage]) -> tuple[Handler, Handler]:
        of = partial(kind, context)
        return (lambda request: of(request).show()), (lambda request: of(request).act())

    return [
        *_route("/login", get=login.show, post=login.sign_in),
        *_route(LOGOUT, post=login.guarded(login.sign_out)),
        *guarded("/", overview.show_all),
        *guarded("/destinations/{name}", overview.show, overview.act),
        *guarded("/dead-letters", partial(show_groups, context)),
        *guarded("/dead-letters/{name}/{kind}/{group}", *shown_by(GroupPage)),
        *guarded("/records/{name}/{id}", *shown_by(DeadLetterPage)),
        *guarded("/audit", audit),
        *(each for path in _FOLDERS for each in guarded(path + "/{rest:path}", not_found)),
        *assets,
    ]


def _route(
    path: str,
    *,
    get: Handler | None = None,
    post: Handler | None = None,
    is_signed_in: Predicate = lambda _: False,
) -> list[BaseRoute]:
    return [
        Route(path, endpoint(handler, path, is_signed_in), methods=[method])
        for method, handler in (("GET", get), ("POST", post))
        if handler is not None
    ]


def _asset(name: str, content_type: str) -> BaseRoute:
    """Return the route of a file that is the same for everyone, so it needs no session."""
    body = Path(__file__).parent.joinpath("assets", name).read_bytes()
    headers = {**HEADERS, "cache-control": "max-age=300", "content-type": content_type}

    async def serve(_: Request) -> Response:
        return Response(body, headers=headers)

    return Route(f"/assets/{name}", serve, methods=["GET"])
