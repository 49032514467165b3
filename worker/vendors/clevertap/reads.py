"""CleverTap's read-back APIs, Get Events and Get Event Count: requests and replies. Pure.

Both report many failures as HTTP 200 with ``"status": "fail"``, some by code, some only by text,
some as a JSON array inside a string. Reading changes nothing at the vendor, so every request may be
repeated; `parse_reply` decides whether that can help.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlencode

import orjson

from ..json_values import exact
from ..protocol import Request, Response, ResponseClass, UploadAdapter, UploadResult
from ..responses import error_text, json_object, response_class_of, retry_after_s

_EVENTS: Final = "/1/events.json"
_COUNTS: Final = "/1/counts/events.json"
_IN_PROGRESS: Final = 2
#: The errors for a cursor or a request id that the vendor does not know (any more).
_LOST: Final = re.compile(
    r"(invalid|expired) cursor|cursor[ _].*(expired|invalid)|incorrect usage"
    r"|invalid request id",
    re.IGNORECASE,
)
_LOST_CODES: Final = ("CURSOR_INVALIDATED", "CURSOR_EXPIRED")
_DATA_KEYS: Final = ("cursor", "records", "count", "req_id")
_SMALLER: Final = (
    "the page is larger than 64 MiB: use a smaller --batch-size; an export to a file also needs "
    "--restart, because its cursor keeps the old size"
)
_CURSOR: Final = re.compile(r"[\x21-\x7e]{1,8000}")


class ReplyKind(StrEnum):
    """What a response means for the request."""

    DATA = "data"
    BUSY = "busy"  # still in progress: repeat the request later
    LOST = "lost"  # the cursor or request id is unknown: start again
    THROTTLED = "throttled"  # too many at once
    FAILED = "failed"  # 5xx, no response, or an unreadable one: repeat a few times
    REFUSED = "refused"  # a wrong request, or not allowed
    DENIED = "denied"  # credentials, region or permission
    TOO_LARGE = "too_large"  # and it would be again


#: By the class of the status; any other is a refusal.
_KINDS: Final = {
    ResponseClass.ANSWERED: ReplyKind.DATA,
    ResponseClass.THROTTLED: ReplyKind.THROTTLED,
    ResponseClass.UNAVAILABLE: ReplyKind.FAILED,
}


@dataclass(frozen=True, slots=True)
class ReadReply:
    """A parsed response. ``error`` is for people; ``wait_s`` comes from Retry-After."""

    kind: ReplyKind
    body: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    wait_s: float = 0.0


class ClevertapReads:
    """Builds the read-back requests of one account; holds no state."""

    def __init__(self, vendor: UploadAdapter) -> None:
        self.base_url = vendor.base_url
        self._headers = vendor.probe().headers

    def start_export(self, body: Mapping[str, Any], parameters: Mapping[str, str]) -> Request:
        """Build step 1 of an export; the response's ``cursor`` names the first page."""
        path = f"{_EVENTS}?{urlencode(parameters)}"
        return Request("POST", path, self._headers, orjson.dumps(body))

    def page(self, cursor: str) -> Request:
        """Build step 2, the request for a page. The cursor comes percent-encoded and is sent back
        unchanged: encoded again, the vendor answers "Incorrect Usage"."""
        return Request("GET", f"{_EVENTS}?cursor={cursor}", self._headers)

    def start_count(self, body: Mapping[str, Any]) -> Request:
        """Build the request for a count; the response is the count, or a ``req_id`` to poll."""
        return Request("POST", _COUNTS, self._headers, orjson.dumps(body))

    def poll_count(self, request_id: int) -> Request:
        """Build a poll of a pending count."""
        return Request("GET", f"{_COUNTS}?req_id={request_id}", self._headers)


def parse_reply(response: Response | UploadResult, now_s: float | None = None) -> ReadReply:
    """Parse a response, or its absence. Never raises, whatever the content."""
    if isinstance(response, UploadResult):
        return ReadReply(ReplyKind.FAILED, error=response.error)
    if response.too_large and 200 <= response.status <= 299:
        return ReadReply(ReplyKind.TOO_LARGE, error=_SMALLER)
    body = json_object(response.content, exact)
    wait_s = retry_after_s(response.headers, now_s) or 0.0
    if body is None:
        kind = _kind_of_status(response.status)
        kind = ReplyKind.FAILED if kind is ReplyKind.DATA else kind
        error = f"HTTP {response.status} without a JSON object"
        return ReadReply(kind, error=error, wait_s=wait_s)
    kind = _kind(response.status, body)
    error = "" if kind is ReplyKind.DATA else _error(response.status, body)
    return ReadReply(kind, body, error, wait_s)


def cursor_in(body: Mapping[str, Any], key: str) -> str | None:
    """Return the cursor under ``key``; None if absent or empty, as on the last page.

    ValueError if it cannot stand in a URL unchanged.
    """
    cursor = body.get(key)
    if cursor is None or cursor == "":
        return None
    if not isinstance(cursor, str) or not _CURSOR.fullmatch(cursor):
        raise ValueError(f"{key} is not a valid cursor")
    return cursor


def whole_number(value: Any) -> int | None:
    """Return a count or request id, also from text; None if it is not a whole number."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,30}", value, re.ASCII):
        return int(value)
    return value if type(value) is int and value >= 0 else None


def _kind(status: int, body: Mapping[str, Any]) -> ReplyKind:
    failed = body.get("status") == "fail"
    code = whole_number(body.get("code"))
    if status < 500 and (failed or status >= 400):
        text = error_text(body.get("error"))
        if code == _IN_PROGRESS or "still in progress" in text.lower():
            return ReplyKind.BUSY
        if body.get("code") in _LOST_CODES or _LOST.search(text):
            return ReplyKind.LOST
    kind = _kind_of_status(status)
    if kind is not ReplyKind.DATA:
        return kind
    if not failed:
        # An object without any known key would look like the last page of an export.
        is_data = "status" not in body and any(key in body for key in _DATA_KEYS)
        succeeded = body.get("status") in ("success", "partial")
        return ReplyKind.DATA if succeeded or is_data else ReplyKind.FAILED
    # HTTP 200 with a failure: its code decides, if it is an HTTP status.
    return _kind_of_status(code) if code is not None and 400 <= code <= 599 else ReplyKind.REFUSED


def _kind_of_status(status: int) -> ReplyKind:
    if status in (401, 402, 403):
        return ReplyKind.DENIED
    return _KINDS.get(response_class_of(status), ReplyKind.REFUSED)


def _error(status: int, body: Mapping[str, Any]) -> str:
    code = body.get("code")
    named = f", code {code}" if isinstance(code, int | str) and str(code) != str(status) else ""
    text = error_text(body.get("error")) or error_text(body.get("message")) or "no reason given"
    return f"{text} (HTTP {status}{named[:40]})"
