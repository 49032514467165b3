"""The sandbox's own endpoints, beside the vendors': received records and faults."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from worker.sandbox.clevertap_rules import folded
from worker.sandbox.fault_rules import BadRule
from worker.sandbox.ledger import Ledger, LedgerRecord
from worker.sandbox.settings import SandboxSettings
from worker.sandbox.state import SandboxState

_SECRETS = ("passcode", "api_secret", "public_token")


class AdminApi:
    """The routes under ``/sandbox``, and ``/healthz``."""

    def __init__(self, state: SandboxState) -> None:
        self._state = state

    def routes(self) -> list[Route]:
        """``HEAD`` goes with every ``GET``."""
        return [
            Route("/healthz", self._healthz),
            Route("/sandbox/ledger", self._ledger),
            Route("/sandbox/settings", self._settings),
            Route("/sandbox/requests", self._requests),
            Route("/sandbox/reset", self._reset, methods=["POST"]),
            Route("/sandbox/cursors", self._forget_cursors, methods=["DELETE"]),
            Route("/sandbox/records", self._records),
            Route("/sandbox/records", self._remove, methods=["DELETE"]),
            Route("/sandbox/faults", self._faults),
            Route("/sandbox/faults", self._order, methods=["POST"]),
            Route("/sandbox/faults", self._clear, methods=["DELETE"]),
        ]

    async def _healthz(self, _: Request) -> Response:
        return JSONResponse({"status": "ok", "what": "a local stand-in, not the vendors"})

    async def _ledger(self, _: Request) -> Response:
        return JSONResponse(summary(self._state))

    async def _settings(self, _: Request) -> Response:
        return JSONResponse(masked(self._state.settings))

    async def _requests(self, _: Request) -> Response:
        return _json_lines(orjson.dumps(dataclasses.asdict(seen)) for seen in self._state.seen)

    async def _reset(self, request: Request) -> Response:
        _refuse_other_sites(request)
        self._state.reset()
        if _is_form(request):
            return RedirectResponse("/", status_code=303)
        return JSONResponse({"reset": True})

    async def _forget_cursors(self, request: Request) -> Response:
        _refuse_other_sites(request)
        self._state.forget_cursors()
        return JSONResponse({"forgotten": True})

    async def _records(self, request: Request) -> Response:
        wanted = _wanted(self._state.ledger, request.query_params)
        offset = _count(request.query_params, "offset", 0)
        limit = _count(request.query_params, "limit", 100)
        rows = (row for row in self._state.ledger.rows() if wanted(row))
        return _json_lines(row.body for row in islice(rows, offset, offset + limit))

    async def _remove(self, request: Request) -> Response:
        _refuse_other_sites(request)
        if not request.query_params.get("evtName"):
            raise HTTPException(400, "evtName: required, the name of the events to remove")
        wanted = _wanted(self._state.ledger, request.query_params)
        count = _count(request.query_params, "count", 1)
        return JSONResponse({"removed": self._state.ledger.remove(wanted, count)})

    async def _faults(self, _: Request) -> Response:
        return JSONResponse(self._state.faults.listed())

    async def _order(self, request: Request) -> Response:
        """Add a rule or a list of rules (JSON), or apply the page's form."""
        _refuse_other_sites(request)
        body = await request.body()
        # curl labels every body a form unless it gets a content type.
        if _is_form(request) and not body.lstrip().startswith((b"{", b"[")):
            self._order_form(dict(parse_qsl(body.decode("utf-8", "replace"))))
            return RedirectResponse("/", status_code=303)
        given = _parsed(body)
        rules = given if isinstance(given, list) else [given]
        return JSONResponse([self._add(rule) for rule in rules], status_code=201)

    def _order_form(self, form: Mapping[str, str]) -> None:
        if "clear" in form:
            everything = form["clear"] == "all"
            self._state.faults.clear(None if everything else _count(form, "clear", 0))
        else:
            self._add(_parsed(form.get("rule", "").encode()))

    async def _clear(self, request: Request) -> Response:
        _refuse_other_sites(request)
        rule_id = _count(request.query_params, "id", 0)
        return JSONResponse({"cleared": self._state.faults.clear(rule_id or None)})

    def _add(self, given: Any) -> dict[str, Any]:
        try:
            return self._state.faults.add(given).public()
        except BadRule as error:
            raise HTTPException(400, str(error)) from None


def summary(state: SandboxState) -> dict[str, Any]:
    """Summarize what was received, by vendor; only duplicates are of kept records alone."""
    ledger = state.ledger
    vendors = {}
    for vendor in ("clevertap", "bloomreach"):
        totals = ledger.of(vendor)
        events, records = _tallied(ledger, vendor)
        vendors[vendor] = {
            "requests": {str(status): count for status, count in sorted(totals.requests.items())},
            "records": records,
            "events": events,
            "refused": dict(sorted(totals.refused.items())),
            "duplicates": totals.duplicates,
            "dry_run": totals.dry_run_records,
            "removed": totals.removed,
        }
    return {
        "vendors": vendors,
        "kept": ledger.kept,
        "highest_upload_concurrency": state.uploads.highest,
    }


def _tallied(ledger: Ledger, vendor: str) -> tuple[dict[str, dict[str, int]], dict[str, int]]:
    """Count events by name and day, and records by kind."""
    events: dict[str, dict[str, int]] = {}
    records: dict[str, int] = {}
    for entry, count in sorted(ledger.tally.items()):
        if entry.vendor != vendor or not count:
            continue
        records[entry.kind] = records.get(entry.kind, 0) + count
        if entry.kind == "event":
            events.setdefault(entry.name, {})[str(entry.day)] = count
    return events, records


def masked(settings: SandboxSettings) -> dict[str, Any]:
    """Return the settings as JSON, secrets masked: they may be real ones by mistake."""
    shown = dataclasses.asdict(settings)
    return shown | dict.fromkeys(_SECRETS, "***")


def _wanted(ledger: Ledger, query: Mapping[str, str]) -> Any:
    """Return a filter by ``vendor``, ``kind``, ``evtName`` and ``day``, each optional."""
    vendor, kind, day = query.get("vendor"), query.get("kind"), query.get("day")
    name = folded(query.get("evtName", ""))

    def wanted(row: LedgerRecord) -> bool:
        return (
            vendor in {None, row.vendor}
            and kind in {None, row.kind}
            and (not name or folded(row.name) == name)
            and (day is None or str(ledger.day_of(row.ts)) == day)
        )

    return wanted


def _count(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not re.fullmatch("[0-9]{1,9}", text):
        raise HTTPException(400, f"{name} is a whole number")
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


def _refuse_other_sites(request: Request) -> None:
    """Refuse other origins: any page in the same browser can reach a loopback port."""
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise HTTPException(403, "not from another site")
