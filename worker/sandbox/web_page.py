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
from worker.sandbox.ledger import LedgerRecord
from worker.sandbox.state import LoggedRequest, SandboxState

REFRESH_S = 2
_SHOWN_REQUESTS, _SHOWN_RECORDS, _SHOWN_EVENTS, _SHOWN_BODY = 15, 10, 20, 400

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


class WebPage:
    """Renders `SandboxState` with escaping on: record content is untrusted."""

    def __init__(self, state: SandboxState) -> None:
        self._state = state
        self._templates = Jinja2Templates(directory=Path(__file__).parent / "templates")

    def routes(self) -> list[Route]:
        """Return the page's one route."""
        return [Route("/", self._show)]

    async def _show(self, request: Request) -> Response:
        paused = request.query_params.get("paused") == "1"
        context = self._context() | {"paused": paused, "refresh_s": REFRESH_S}
        headers = {"content-security-policy": _POLICY, "cache-control": "no-store"}
        return self._templates.TemplateResponse(request, "page.html", context, headers=headers)

    def _context(self) -> dict[str, Any]:
        state = self._state
        vendors = summary(state)["vendors"]
        logged = list(state.request_log)[-_SHOWN_REQUESTS:]
        return {
            "vendors": vendors,
            "kept": state.ledger.kept,
            "events": _busiest(vendors),
            "requests": [_request_line(each) for each in reversed(logged)],
            "records": [_record_line(row) for row in state.ledger.newest(_SHOWN_RECORDS)],
            "faults": [_fault_line(rule) for rule in state.faults.listed()],
            "presets": [(label, json.dumps(rule)) for label, rule in PRESET_FAULTS],
            "account_id": state.settings.account_id,
            "project_token": state.settings.project_token,
            "time_zone": state.settings.time_zone,
            "since": _clock_text(state.started_at_s),
        }


def _busiest(vendors: dict[str, Any]) -> list[tuple[str, str, int]]:
    """Return vendor, name and count of the most frequent events."""
    counts = [
        (vendor, name, sum(days.values()))
        for vendor, totals in vendors.items()
        for name, days in totals["events"].items()
    ]
    return sorted(counts, key=lambda each: -each[2])[:_SHOWN_EVENTS]


def _request_line(logged: LoggedRequest) -> dict[str, Any]:
    return {
        "at": _clock_text(logged.at_s),
        "vendor": logged.vendor,
        "what": f"{logged.method} {logged.path}",
        "kilobytes": f"{logged.received_bytes / 1000:.1f}",
        "status": logged.status or "hung up",
        "failed": logged.status != 200,
        "took_ms": f"{logged.took_ms:.1f}",
        "records": logged.records,
        "refused": logged.refused,
        "fault": logged.fault,
    }


def _record_line(row: LedgerRecord) -> dict[str, str]:
    text = row.body[:_SHOWN_BODY].decode("utf-8", "replace")
    cut = "..." if len(row.body) > _SHOWN_BODY else ""
    return {"vendor": row.vendor, "kind": row.kind, "body": text + cut}


def _fault_line(rule: dict[str, Any]) -> dict[str, Any]:
    hidden = {"id", "met", "kind"}
    defaults: tuple[Any, ...] = (None, "", {}, 0, 0.0, 1.0, "any")
    details = {
        key: value for key, value in rule.items() if key not in hidden and value not in defaults
    }
    return {
        "id": rule["id"],
        "kind": rule["kind"],
        "met": rule["met"],
        "left": "until cleared" if rule["times"] is None else f"{rule['times']} left",
        "details": json.dumps(details),
    }


def _clock_text(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%H:%M:%S")
