"""The page at ``/``: live totals, the last requests and records, and buttons for faults."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.templating import Jinja2Templates

from worker.sandbox.admin_api import summary
from worker.sandbox.state import SandboxState

REFRESH_S = 2
_SHOWN_REQUESTS, _SHOWN_RECORDS, _SHOWN_EVENTS = 15, 10, 20

# The buttons: label and rule.
PRESET_FAULTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("503, five times", {"kind": "http", "status": 503, "times": 5}),
    ("429, Retry-After 2", {"kind": "http", "status": 429, "retry_after": "2", "times": 5}),
    ("401 until cleared", {"kind": "http", "status": 401, "error": "Account ID is not valid"}),
    ("400 once", {"kind": "http", "status": 400, "error": "Malformed request", "times": 1}),
    ("Slow: 2 s each", {"kind": "delay", "delay_ms": 2000}),
    ("Hang up, kept", {"kind": "drop", "times": 1}),
    ("Hang up, not kept", {"kind": "drop", "apply": False, "times": 1}),
    ("Half an answer", {"kind": "truncate", "times": 1}),
    ("Nonsense 200", {"kind": "nonsense", "times": 1}),
    ("555 for 100 records", {"kind": "record", "code": 555, "times": 100}),
    ("One in five fails", {"kind": "http", "status": 500, "probability": 0.2, "seed": 1}),
)

# No external content, no script, and forms to this server only.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)


def page_route(state: SandboxState) -> Route:
    """Return the page's route. It renders with escaping on: record content is untrusted."""
    templates = Jinja2Templates(directory=Path(__file__).parent / "templates")
    templates.env.filters["clock"] = _clock_text

    async def show(request: Request) -> Response:
        paused = request.query_params.get("paused") == "1"
        context = _context(state) | {"paused": paused, "refresh_s": REFRESH_S}
        headers = {"content-security-policy": _POLICY, "cache-control": "no-store"}
        return templates.TemplateResponse(request, "page.html", context, headers=headers)

    return Route("/", show)


def _context(state: SandboxState) -> dict[str, Any]:
    vendors = summary(state)["vendors"]
    events = [
        (vendor, name, sum(days.values()))
        for vendor, totals in vendors.items()
        for name, days in totals["events"].items()
    ]
    return {
        "vendors": vendors,
        "kept": state.ledger.kept,
        "events": sorted(events, key=lambda each: -each[2])[:_SHOWN_EVENTS],
        "requests": list(state.request_log)[: -_SHOWN_REQUESTS - 1 : -1],
        "records": state.ledger.newest(_SHOWN_RECORDS),
        "faults": [rule | {"details": _details(rule)} for rule in state.faults.listed()],
        "presets": [(label, json.dumps(rule)) for label, rule in PRESET_FAULTS],
        "settings": state.settings,
        "since": state.started_at_s,
    }


def _details(rule: dict[str, Any]) -> str:
    defaults: tuple[Any, ...] = (None, "", {}, 0, 0.0, 1.0, "any")
    details = {key: rule[key] for key in rule if key not in {"id", "met", "kind"}}
    return json.dumps({key: value for key, value in details.items() if value not in defaults})


def _clock_text(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%H:%M:%S")
