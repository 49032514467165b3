"""CleverTap's endpoints: credentials, upload, export and count, from request to answer."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from worker.sandbox import clevertap_upload as uploads
from worker.sandbox import error_codes
from worker.sandbox.clevertap_json import spaced
from worker.sandbox.clevertap_upload import Malformed, UploadOutcome
from worker.sandbox.endpoint import VendorRequest, VendorResponse
from worker.sandbox.error_codes import ErrorCode
from worker.sandbox.exports import Shape, page_size
from worker.sandbox.ledger import LedgerRecord
from worker.sandbox.queries import NOT_EXPORTABLE, QueryRefused, read_query
from worker.sandbox.state import SandboxState


class CleverTapApi:
    """Plays one account."""

    vendor = "clevertap"
    content_type = "application/json;charset=utf-8"

    def __init__(self, state: SandboxState) -> None:
        self._state = state
        self._headers = [("connection", "Close")] if state.settings.close_connections else []

    def upload(self, call: VendorRequest) -> VendorResponse:
        """``POST /1/upload``: HTTP 200 with one verdict a record, or a refusal of the whole."""
        settings = self._state.settings
        if refused := self._refusal(call, "POST"):
            return refused
        if 0 < settings.max_body_bytes < len(call.body):
            return self.failing(413, "Request entity too large")
        try:
            records = uploads.records_of(call.body, settings.max_records)
            upload = uploads.validate_records(records, self._judge(call.path))
            body = uploads.answer(upload, of_2017=settings.answers_of_2017)
            rows = self._rows(upload.taken)
        except (Malformed, RecursionError, orjson.JSONEncodeError):
            # What is nested some hundred levels deep can be read, and not written again.
            return self.failing(400, uploads.MALFORMED)
        self._enter(upload, rows, rehearsal=call.parameter("dryRun") == "1")
        return self._answer(200, body, records=len(records), refused=len(upload.skipped))

    def events(self, call: VendorRequest) -> VendorResponse:
        """``/1/events.json``: a POST (or ``query=``) begins an export, ``cursor=`` reads a page."""
        return self._refusal(call, "GET", "POST") or self._outcome(call, self._export)

    def counts(self, call: VendorRequest) -> VendorResponse:
        """``/1/counts/events.json``: a POST (or ``query=``) begins one, ``req_id=`` polls it."""
        return self._refusal(call, "GET", "POST") or self._outcome(call, self._count)

    def unknown(self, call: VendorRequest) -> VendorResponse:
        """Any other path of the API."""
        return self._refusal(call, call.method) or self.failing(404, "Resource not found")

    def too_many(self) -> VendorResponse:
        """Refuse a request above the concurrency limit."""
        return self.failing(429, "Too many concurrent requests")

    def failing(self, status: int, error: str | None) -> VendorResponse:
        """Refuse the whole request."""
        text = error or {429: "Too many concurrent requests"}.get(status, "Please try again later")
        return self._answer(status, uploads.failure(text, status))

    def empty(self) -> VendorResponse:
        """``fail`` without a record named: an edge that clients of this API have met."""
        return self._answer(200, spaced({"status": "fail", "processed": 0, "unprocessed": []}))

    def _refusal(self, call: VendorRequest, *methods: str) -> VendorResponse | None:
        settings = self._state.settings
        account = call.headers.get("x-clevertap-account-id", "")
        passcode = call.headers.get("x-clevertap-passcode", "")
        if not account:
            return self.failing(401, "12 digit account ID mandatory")
        if not hmac.compare_digest(account.encode(), settings.account_id.encode()):
            return self.failing(401, "Account ID is not valid")
        if not hmac.compare_digest(passcode.encode(), settings.passcode.encode()):
            return self.failing(401, "Passcode Invalid")
        return None if call.method in methods else self.failing(405, "Method not allowed")

    def _judge(self, path: str) -> Callable[[Any], ErrorCode | None]:
        """Return the account's rules, preceded by the faults set for single records."""
        validate = self._state.validator.validate
        rules = self._state.faults.record_rules(self.vendor, path)
        if not rules:
            return validate

        def faulty(record: Any) -> ErrorCode | None:
            for rule in rules:
                if rule.describes(record) and rule.draws():
                    return error_codes.of(rule.code, rule.error)
            return validate(record)

        return faulty

    def _enter(
        self, upload: UploadOutcome, rows: Sequence[LedgerRecord], *, rehearsal: bool
    ) -> None:
        totals = self._state.ledger.of(self.vendor)
        if rehearsal:
            totals.dry_run_records += len(rows) + len(upload.skipped)
            return
        totals.refused.update(str(each.refusal.code) for each in upload.skipped)
        self._state.ledger.take(self.vendor, rows)

    def _rows(self, records: Sequence[dict[str, Any]]) -> list[LedgerRecord]:
        now = int(self._state.clock())
        return [
            LedgerRecord(
                self.vendor,
                record["type"],
                record["evtName"] if record["type"] == "event" else "",
                record.get("ts") or now,
                orjson.dumps(record),
            )
            for record in records
        ]

    def _outcome(
        self, call: VendorRequest, tell: Callable[[VendorRequest], dict[str, Any]]
    ) -> VendorResponse:
        try:
            told = tell(call)
        except QueryRefused as refused:
            return self._answer(refused.status, uploads.failure(refused.text, refused.code))
        return self._answer(200, spaced(told), records=len(told.get("records", ())))

    def _export(self, call: VendorRequest) -> dict[str, Any]:
        cursor = call.parameter("cursor")
        if cursor is not None:
            return self._state.exports.page(cursor)
        query = read_query(_query(call))
        if query.name in NOT_EXPORTABLE:
            raise QueryRefused("Export not allowed for this event", 400, 400)
        odd = self._state.settings.odd_page_sizes
        shape = Shape(
            page_size(call.parameter("batch_size"), odd=odd),
            app=call.parameter("app") == "true",
            events=call.parameter("events") != "false",
            profile=call.parameter("profile") != "false",
        )
        return {"cursor": self._state.exports.start(query, shape), "status": "success"}

    def _count(self, call: VendorRequest) -> dict[str, Any]:
        request_id = call.parameter("req_id")
        if request_id is not None:
            return self._state.counts.poll(request_id)
        return self._state.counts.start(read_query(_query(call)))

    def _answer(
        self, status: int, body: bytes | str, *, records: int = 0, refused: int = 0
    ) -> VendorResponse:
        raw = body.encode() if isinstance(body, str) else body
        return VendorResponse(status, raw, self._headers, self.content_type, records, refused)


def _query(call: VendorRequest) -> bytes:
    """Return a query: a POST's body or, from older clients, the ``query`` of a GET."""
    return call.body if call.method == "POST" else (call.parameter("query") or "").encode()
