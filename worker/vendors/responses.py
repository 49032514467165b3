"""Reading what vendors answer: any bytes at all, and never an exception."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from itertools import islice
from math import isfinite
from typing import Any, Final

import orjson

from worker.vendors.protocol import ResponseClass

MAX_ERROR_CHARS: Final = 300
MAX_RETRY_AFTER_S: Final = 86_400.0  # a wish beyond a day is no wish, and not the vendor's

_LONG: Final = re.compile(rb"[0-9]{19}")
_SECONDS: Final = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]+")


def json_object(content: bytes) -> dict[str, Any] | None:
    """The JSON object in ``content``, or None when it holds none.

    orjson refuses some of what vendors may echo (lone surrogates, NaN, broken UTF-8); an answer
    is worth a second look, for what it would have told is else sent again.
    """
    try:
        value = orjson.loads(content)
    except ValueError:
        try:
            value = json.loads(content.decode("utf-8-sig", "replace"))
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, dict) else None


def exact_object(content: bytes) -> dict[str, Any] | None:
    """The same with integers of any length as they are; NaN and infinities are None.

    orjson makes a float of what is beyond 64 bits, so a run of digits is looked for first.
    """
    try:
        value = _exact(content) if _LONG.search(content) else orjson.loads(content)
    except (ValueError, RecursionError):
        try:
            value = _exact(content)
        except (ValueError, RecursionError):  # an integer of thousands of digits, or no JSON
            return json_object(content)
    return value if isinstance(value, dict) else None


def _exact(content: bytes) -> Any:
    text = content.decode("utf-8-sig", "replace")
    return json.loads(text, parse_float=_finite, parse_constant=lambda _: None)


def _finite(text: str) -> float | None:
    value = float(text)
    return value if isfinite(value) else None


def response_class_of(status: int) -> ResponseClass:
    """What an HTTP status says of the whole request.

    A status that the vendor does not list blames no record: a redirect or an unknown 4xx parks
    the destination, 408, 409 and 425 ask for another attempt, 422 is a 400.
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
    """A vendor's text for people: one line, of bounded length, and no record echoed in it."""
    if not isinstance(text, str):
        return ""
    before_record = text[: 4 * MAX_ERROR_CHARS].partition("{")[0]
    line: str = _UNPRINTABLE.sub(" ", before_record).strip()
    return line if len(line) <= MAX_ERROR_CHARS else line[: MAX_ERROR_CHARS - 3] + "..."


def error_text(error: Any) -> str:
    """An error in one line, whether it comes as text, as a list of texts, as an object with one
    under ``message``, ``error``, ``description`` or ``reason``, or as JSON of these in a text."""
    if isinstance(error, str) and error.lstrip()[:1] in ("[", "{"):
        with contextlib.suppress(ValueError, RecursionError):
            return _error_text(json.loads(error)) or one_line(error)
    return _error_text(error)


def _error_text(error: Any) -> str:
    if isinstance(error, dict):
        named = (error.get(key) for key in ("message", "error", "description", "reason"))
        return next((text for each in named if (text := one_line(each))), "")
    if isinstance(error, list):
        texts = (
            one_line(each) or (_error_text(each) if isinstance(each, dict) else "")
            for each in error
        )
        return one_line("; ".join(text for text in islice(texts, 10) if text))
    return one_line(error)


def retry_after_s(headers: Mapping[str, str], now_s: float | None = None) -> float | None:
    """The seconds to wait that a Retry-After header asks for, or None.

    A date in it is counted from the answer's own Date where there is one, so that our clock need
    not agree with the vendor's, and else from ``now_s`` (epoch seconds).
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
    """The epoch seconds of an HTTP date, None when it is none."""
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
