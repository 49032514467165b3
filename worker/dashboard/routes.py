"""The dashboard's addresses, for the gateway to mount."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from worker.connections.clients import operator_client, redis_url
from worker.settings.settings import Settings

from .audit_log import Audit
from .context import Context
from .dead_letter import OneRecord
from .endpoint import HEADERS, Answer, Asked, Known, endpoint, nobody, page
from .group import OneCause
from .groups import Causes
from .login import LEAVE, Entrance, off
from .login_throttle import LoginThrottle
from .overview import Flow, frame, missing
from .sessions import Sessions
from .settings import DashboardSettings

# Redis' next word is waited for so long, and once more: a person sits before an empty page.
_PATIENCE_S = 2.0
# What is cut off or mistyped below these is told to a person, not in the gateway's JSON.
_FOLDERS = ("/destinations", "/dead-letters", "/records", "/audit")
_ASSETS = {
    "dashboard.css": "text/css; charset=utf-8",
    "panels.js": "text/javascript; charset=utf-8",
    "live.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


def routes(
    settings: Settings,
    dashboard: DashboardSettings,
    *,
    now: Callable[[], float] = time.time,
) -> Sequence[BaseRoute]:
    """All pages, or the one that says that there is no dashboard; nothing connects before it is
    asked for."""
    if not dashboard.on:
        return [*_route("/", get=off), *_assets()]
    client = operator_client(redis_url(settings), _PATIENCE_S)
    reach = Context(settings, client, Audit(client), now)
    sessions = Sessions(client, dashboard, now=now)
    entrance = Entrance(sessions, LoginThrottle(client), reach.audit)
    flow, causes = Flow(reach, dashboard.refresh_s), Causes(reach)
    one_cause, record = OneCause(reach), OneRecord(reach)
    guarded, known = entrance.guarded, entrance.signed_in

    def deeds(asked: Asked) -> Response:
        return page(200, "audit.html", deeds=list(reach.audit.last()), **frame(asked, "audit"))

    cause, one = "/dead-letters/{name}/{kind}/{cause}", "/records/{name}/{id}"
    return [
        *_route("/login", get=entrance.show, post=entrance.enter),
        *_route(LEAVE, post=guarded(entrance.leave)),
        *_route("/", get=guarded(flow.overview)),
        *_route(
            "/destinations/{name}",
            get=guarded(flow.destination),
            post=guarded(flow.steer),
            known=known,
        ),
        *_route("/dead-letters", get=guarded(causes.show)),
        *_route(cause, get=guarded(one_cause.show), post=guarded(one_cause.act), known=known),
        *_route(one, get=guarded(record.show), post=guarded(record.act), known=known),
        *_route("/audit", get=guarded(deeds)),
        *(
            part
            for path in _FOLDERS
            for part in _route(path + "/{rest:path}", get=guarded(missing))
        ),
        *_assets(),
    ]


def _route(
    path: str, *, get: Answer | None = None, post: Answer | None = None, known: Known = nobody
) -> list[BaseRoute]:
    made: list[BaseRoute] = []
    if get is not None:
        made.append(Route(path, endpoint(get, path), methods=["GET"]))
    if post is not None:
        made.append(Route(path, endpoint(post, path, known), methods=["POST"]))
    return made


def _assets() -> list[BaseRoute]:
    """Style, script and icon: read once, the same for everybody, so they need no session."""
    return [_asset(name, content_type) for name, content_type in _ASSETS.items()]


def _asset(name: str, content_type: str) -> BaseRoute:
    body = Path(__file__).parent.joinpath("assets", name).read_bytes()
    headers = {**HEADERS, "cache-control": "max-age=300", "content-type": content_type}

    async def serve(_: Request) -> Response:
        return Response(body, headers=headers)

    return Route(f"/assets/{name}", serve, methods=["GET"])
