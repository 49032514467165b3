"""Read vendors' responses and classify their status; any bytes will do, and nothing raises."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from itertools import islice
from math import isfinite
from typing import Any, Final

import orjson

from worker.vendors.protocol import Response, ResponseClass, UploadResult

Parse = Callable[[bytes], Any]

MAX_ERROR_CHARS: Final = 300
MAX_RETRY_AFTER_S: Final = 86_400.0  # no vendor means more than a day

_SECONDS: Final = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]+")


def json_object(content: bytes, parse: Parse = orjson.loads) -> dict[str, Any] | None:
    """Return the JSON object in ``content``, or None; ``exact`` as ``parse`` keeps every digit.

    What ``parse`` rejects is parsed once more, leniently: vendors may echo lone surrogates, NaN and
    broken UTF-8, and if a response is not understood, its records are sent again.
    """
    try:
        value = parse(content)
    except ValueError:
        text = content.decode("utf-8-sig", "replace")
        try:
            value = json.loads(
                text,
                parse_float=lambda number: found if isfinite(found := float(number)) else None,
                parse_constant=lambda _: None,
            )
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, dict) else None


def open_upload(
    response: Response, error_of: Callable[[Mapping[str, Any]], str]
) -> tuple[UploadResult | None, dict[str, Any]]:
    """Return the result of a response without verdicts, or None, and the response's JSON object."""
    body = json_object(response.content)
    response_class = response_class_of(response.status)
    if response_class is not ResponseClass.ANSWERED:
        return failure(response, response_class, error_of(body or {})), body or {}
    if body is None:
        return garbled(response, "success, but not a JSON object"), {}
    return None, body


def failure(response: Response, response_class: ResponseClass, error: str) -> UploadResult:
    """Return the result of a request that failed as a whole."""
    error, wait_s = error or f"HTTP {response.status}", retry_after_s(response.headers)
    return UploadResult(response_class, (), response.status, error, wait_s)


def garbled(response: Response, error: str) -> UploadResult:
    """Return the result of a success that cannot be understood."""
    return UploadResult(ResponseClass.GARBLED, (), response.status, error)


def response_class_of(status: int) -> ResponseClass:
    """Return the class of an HTTP status.

    A status that the vendor does not document counts against no record: a redirect or an unknown
    4xx parks the destination; 408, 409 and 425 are retried. 422 is treated as 400.
    """
    if 200 <= status <= 299:
        return ResponseClass.ANSWERED
    if status in (400, 422):
        return ResponseClass.REFUSED
    if status == 413:
        return ResponseClass.TOO_LARGE
    if status == 429:
        return ResponseClass.THROTTLED
    if 300 <= status <= 499 and status not in (408, 409, 425):
        return ResponseClass.DENIED
    return ResponseClass.UNAVAILABLE


def one_line(text: Any) -> str:
    """Return a vendor's text for people: one line, bounded, without the record it may echo."""
    if not isinstance(text, str):
        return ""
    before_record = text[: 4 * MAX_ERROR_CHARS].partition("{")[0]
    line: str = _UNPRINTABLE.sub(" ", before_record).strip()
    return line if len(line) <= MAX_ERROR_CHARS else line[: MAX_ERROR_CHARS - 3] + "..."


def error_text(error: Any) -> str:
    """Return an error in one line.

    It may be text, a list of texts, an object with one under ``message``, ``error``,
    ``description`` or ``reason``, or any of these as JSON in a text.
    """
    if isinstance(error, str) and error.lstrip()[:1] in ("[", "{"):
        with contextlib.suppress(ValueError, RecursionError):
            return _error_text(json.loads(error)) or one_line(error)
    return _error_text(error)


def _error_text(error: Any) -> str:
    if isinstance(error, dict):
        named = (error.get(key) for key in ("message", "error", "description", "reason"))
        return next((text for each in named if (text := one_line(each))), "")
    if isinstance(error, list):
        texts = (_error_text(each) for each in error if isinstance(each, str | dict))
        return one_line("; ".join(text for text in islice(texts, 10) if text))
    return one_line(error)


def retry_after_s(headers: Mapping[str, str], now_s: float | None = None) -> float | None:
    """Return the seconds that a Retry-After header asks for, or None.

    A date in it is measured from the response's own Date header, so that our clock need not agree
    with the vendor's; without that header, from ``now_s`` (epoch seconds).
    """
    wish = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(wish):
        return min(float(wish), MAX_RETRY_AFTER_S)
    due_s = _http_date_s(wish)
    start_s = _http_date_s(headers.get("date", ""))
    start_s = now_s if start_s is None else start_s
    if due_s is None or start_s is None:
        return None
    return min(max(due_s - start_s, 0.0), MAX_RETRY_AFTER_S)


def _http_date_s(text: str) -> float | None:
    """Return the epoch seconds of an HTTP date, or None."""
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
