"""The sandbox's own endpoints, beside the vendors': received records and faults."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from worker.sandbox.clevertap_rules import folded
from worker.sandbox.faults import BadRule
from worker.sandbox.ledger import Ledger, LedgerRecord
from worker.sandbox.state import SandboxState

_SECRETS = ("passcode", "api_secret", "public_token")


class AdminApi:
    """The routes under ``/sandbox``, and ``/healthz``."""

    def __init__(self, state: SandboxState) -> None:
        self._state, self._ledger, self._faults = state, state.ledger, state.faults

    def routes(self) -> list[Route]:
        """Return the routes; ``HEAD`` goes with every ``GET``."""
        state, log = self._state, self._state.request_log
        # Secrets are masked: they may be real ones by mistake.
        settings = dataclasses.asdict(state.settings) | dict.fromkeys(_SECRETS, "***")
        healthy = {"status": "ok", "what": "a local stand-in, not the vendors"}
        return [
            _route("GET", "/healthz", lambda *_: healthy),
            _route("GET", "/sandbox/ledger", lambda *_: summary(state)),
            _route("GET", "/sandbox/settings", lambda *_: settings),
            _route("GET", "/sandbox/requests", lambda *_: _json_lines(map(orjson.dumps, log))),
            _route("POST", "/sandbox/reset", self._reset),
            _route("DELETE", "/sandbox/cursors", self._forget_cursors),
            _route("GET", "/sandbox/records", self._records),
            _route("DELETE", "/sandbox/records", self._remove_records),
            _route("GET", "/sandbox/faults", lambda *_: self._faults.listed()),
            _route("POST", "/sandbox/faults", self._add_faults),
            _route("DELETE", "/sandbox/faults", self._clear_faults),
        ]

    def _reset(self, request: Request, _: bytes) -> Any:
        self._state.reset()
        return RedirectResponse("/", 303) if _is_form(request) else {"reset": True}

    def _forget_cursors(self, *_: Any) -> Any:
        self._state.forget_cursors()
        return {"forgotten": True}

    def _records(self, request: Request, _: bytes) -> Response:
        matches = _record_filter(self._ledger, request.query_params)
        offset = _whole_number(request.query_params, "offset", 0)
        limit = _whole_number(request.query_params, "limit", 100)
        rows = filter(matches, self._ledger.rows())
        return _json_lines(row.body for row in islice(rows, offset, offset + limit))

    def _remove_records(self, request: Request, _: bytes) -> Any:
        if not request.query_params.get("evtName"):
            raise HTTPException(400, "evtName: required, the name of the events to remove")
        matches = _record_filter(self._ledger, request.query_params)
        count = _whole_number(request.query_params, "count", 1)
        return {"removed": self._ledger.remove(matches, count)}

    def _add_faults(self, request: Request, body: bytes) -> Response:
        """Add a rule or a list of rules (JSON), or apply the page's form."""
        # curl labels every body a form unless it gets a content type.
        if not _is_form(request) or body.lstrip().startswith((b"{", b"[")):
            given = _parsed(body)
            rules = given if isinstance(given, list) else [given]
            return JSONResponse([self._faults.add(rule).public() for rule in rules], 201)
        form = dict(parse_qsl(body.decode("utf-8", "replace")))
        if "clear" in form:
            every = form["clear"] == "all"
            self._faults.clear(None if every else _whole_number(form, "clear", 0))
        else:
            self._faults.add(_parsed(form.get("rule", "").encode()))
        return RedirectResponse("/", 303)

    def _clear_faults(self, request: Request, _: bytes) -> Any:
        rule_id = _whole_number(request.query_params, "id", 0)
        return {"cleared": self._faults.clear(rule_id or None)}


def _route(method: str, path: str, respond: Callable[[Request, bytes], Any]) -> Route:
    """Route to a handler of a request and its body; JSON unless it returns a response."""

    async def endpoint(request: Request) -> Response:
        origin = request.headers.get("origin")
        # Any page in the same browser can reach a loopback port.
        foreign = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
        if method != "GET" and foreign:
            raise HTTPException(403, "requests from other sites are refused")
        try:
            found = respond(request, await request.body())
        except BadRule as error:
            raise HTTPException(400, str(error)) from None
        return found if isinstance(found, Response) else JSONResponse(found)

    return Route(path, endpoint, methods=[method])


def summary(state: SandboxState) -> dict[str, Any]:
    """Summarise what was received, by vendor; duplicates are found among kept records only."""
    ledger = state.ledger
    return {
        "vendors": {vendor: _totals(ledger, vendor) for vendor in ("clevertap", "bloomreach")},
        "kept": ledger.kept,
        "highest_upload_concurrency": state.uploads.highest,
    }


def _totals(ledger: Ledger, vendor: str) -> dict[str, Any]:
    """Return a vendor's totals: its records by kind, its events by name and day."""
    totals = ledger.of(vendor)
    events: dict[str, dict[str, int]] = {}
    records: dict[str, int] = {}
    for entry, count in sorted(ledger.tally.items()):
        if entry.vendor != vendor or not count:
            continue
        records[entry.kind] = records.get(entry.kind, 0) + count
        if entry.kind == "event":
            events.setdefault(entry.name, {})[str(entry.day)] = count
    return {
        "requests": {str(status): count for status, count in sorted(totals.requests.items())},
        "records": records,
        "events": events,
        "refused": dict(sorted(totals.refused.items())),
        "duplicates": totals.duplicates,
        "dry_run": totals.dry_run_records,
        "removed": totals.removed,
    }


def _record_filter(ledger: Ledger, query: Mapping[str, str]) -> Callable[[LedgerRecord], bool]:
    """Return a filter by ``vendor``, ``kind``, ``evtName`` and ``day``, each optional."""
    vendor, kind, day = query.get("vendor"), query.get("kind"), query.get("day")
    name = folded(query.get("evtName", ""))
    return lambda row: (
        vendor in {None, row.vendor}
        and kind in {None, row.kind}
        and (not name or folded(row.name) == name)
        and (day is None or str(ledger.time.day_of(row.ts)) == day)
    )


def _whole_number(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not re.fullmatch("[0-9]{1,9}", text):
        raise HTTPException(400, f"{name} must be a whole number")
    return int(text)


def _json_lines(lines: Iterable[bytes]) -> Response:
    return Response(b"".join(line + b"\n" for line in lines), media_type="application/x-ndjson")


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise HTTPException(400, "the body is not valid JSON") from None


def _is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
