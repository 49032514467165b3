"""CleverTap's endpoints: credentials, upload, export and count, from request to response."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from worker.sandbox import error_codes
from worker.sandbox.clevertap_rules import credentials_error
from worker.sandbox.clevertap_upload import (
    MALFORMED,
    Malformed,
    failure,
    records_of,
    response_body,
    spaced,
    validate_records,
)
from worker.sandbox.endpoint import VendorRequest, VendorResponse
from worker.sandbox.error_codes import ErrorCode
from worker.sandbox.faults import applied
from worker.sandbox.ledger import LedgerRecord
from worker.sandbox.queries import NOT_EXPORTABLE, QueryRefused, read_query
from worker.sandbox.reads import PageShape, page_size
from worker.sandbox.state import SandboxState


class CleverTapApi:
    """The API of one account."""

    vendor = "clevertap"
    content_type = "application/json;charset=utf-8"

    def __init__(self, state: SandboxState) -> None:
        self._state = state
        self._headers = {"connection": "Close"} if state.settings.close_connections else {}

    def upload(self, request: VendorRequest) -> VendorResponse:
        """Handle ``POST /1/upload``: HTTP 200 with a result per record, or a refusal of all."""
        settings, totals = self._state.settings, self._state.ledger.of(self.vendor)
        if refused := self._refusal(request, "POST"):
            return refused
        if 0 < settings.max_body_bytes < len(request.body):
            return self.failing(413, "Request entity too large")
        try:
            records = records_of(request.body, settings.max_records)
            outcome = validate_records(records, self._validate(request.path))
            body = response_body(outcome)
            rows = [self._row(record) for record in outcome.accepted]
        except (Malformed, RecursionError, orjson.JSONEncodeError):
            # JSON nested some hundred levels deep can be parsed, but not serialised.
            return self.failing(400, MALFORMED)
        if request.parameter("dryRun") == "1":
            totals.dry_run_records += len(records)
        else:
            totals.refused.update(str(each["code"]) for each in outcome.skipped)
            self._state.ledger.add(self.vendor, rows)
        return self._response(200, body, records=len(records), refused=len(outcome.skipped))

    def events(self, request: VendorRequest) -> VendorResponse:
        """Handle ``/1/events.json``: POST (or ``query=``) starts, ``cursor=`` reads a page."""
        return self._read(request, self._export)

    def counts(self, request: VendorRequest) -> VendorResponse:
        """Handle ``/1/counts/events.json``: POST (or ``query=``) starts, ``req_id=`` polls."""
        return self._read(request, self._count)

    def unknown(self, request: VendorRequest) -> VendorResponse:
        """Handle any other path of the API."""
        return self._refusal(request, request.method) or self.failing(404, "Resource not found")

    def failing(self, status: int, error: str | None = None) -> VendorResponse:
        """Refuse the whole request."""
        text = error or {429: "Too many concurrent requests"}.get(status, "Please try again later")
        return self._response(status, failure(text, status))

    def empty(self) -> VendorResponse:
        """Answer ``fail`` without naming a record: an edge case that clients have met."""
        body = spaced({"status": "fail", "processed": 0, "unprocessed": []})
        return self._response(200, body.encode())

    def _refusal(self, request: VendorRequest, *methods: str) -> VendorResponse | None:
        settings = self._state.settings
        if error := credentials_error(request.headers, settings.account_id, settings.passcode):
            return self.failing(401, error)
        return None if request.method in methods else self.failing(405, "Method not allowed")

    def _validate(self, path: str) -> Callable[[Any], ErrorCode | None]:
        """Return the account's checks, preceded by the faults set for single records."""
        validate = self._state.validator.validate
        rules = self._state.faults.record_rules(self.vendor, path)

        def faulty(record: Any) -> ErrorCode | None:
            rule = applied(rules, record)
            return error_codes.of(rule.code, rule.error) if rule else validate(record)

        return faulty if rules else validate

    def _row(self, record: dict[str, Any]) -> LedgerRecord:
        kind, ts = record["type"], record.get("ts") or int(self._state.clock())
        name = record["evtName"] if kind == "event" else ""
        return LedgerRecord(self.vendor, kind, name, ts, orjson.dumps(record))

    def _read(
        self, request: VendorRequest, found: Callable[[VendorRequest], dict[str, Any]]
    ) -> VendorResponse:
        if refused := self._refusal(request, "GET", "POST"):
            return refused
        try:
            answer = found(request)
        except QueryRefused as error:
            return self._response(error.status, failure(error.text, error.code))
        return self._response(200, spaced(answer).encode(), records=len(answer.get("records", ())))

    def _export(self, request: VendorRequest) -> dict[str, Any]:
        cursor = request.parameter("cursor")
        if cursor is not None:
            return self._state.read_back.page(cursor)
        query = read_query(_query(request))
        if query.name in NOT_EXPORTABLE:
            raise QueryRefused("Export not allowed for this event", 400, 400)
        shape = PageShape(
            page_size(request.parameter("batch_size")),
            app=request.parameter("app") == "true",
            events=request.parameter("events") != "false",
            profile=request.parameter("profile") != "false",
        )
        return {"cursor": self._state.read_back.start_export(query, shape), "status": "success"}

    def _count(self, request: VendorRequest) -> dict[str, Any]:
        request_id = request.parameter("req_id")
        if request_id is not None:
            return self._state.read_back.poll_count(request_id)
        return self._state.read_back.start_count(read_query(_query(request)))

    def _response(
        self, status: int, body: bytes, *, records: int = 0, refused: int = 0
    ) -> VendorResponse:
        return VendorResponse(status, body, self._headers, self.content_type, records, refused)


def _query(request: VendorRequest) -> bytes:
    """Return a query: a POST's body or, from older clients, the ``query`` of a GET."""
    return request.body if request.method == "POST" else (request.parameter("query") or "").encode()
