"""Reading responses: JSON of any kind, texts for people, Retry-After."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from worker.vendors.json_values import exact
from worker.vendors.protocol import Response, ResponseClass
from worker.vendors.responses import json_object, one_line, open_upload, retry_after_s


@pytest.mark.parametrize(
    ("wish", "date", "now_s", "expected"),
    [
        ("120", "", None, 120.0),
        (" 1.5 ", "", None, 1.5),
        ("0", "", None, 0.0),
        ("99999999999", "", None, 86_400.0),
        ("-5", "", 0.0, None),
        ("soon", "", 0.0, None),
        ("", "", 0.0, None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 21 Oct 2015 07:27:00 GMT", 0.0, 60.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", "", 1_445_412_470.0, 10.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", "", 1_445_419_999.0, 0.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", "", None, None),
        ("Wed, 99 Oct 2015 07:28:00 GMT", "", 0.0, None),
        ("Sun, 06 Nov 99999 08:49:37 GMT", "", 0.0, None),
    ],
)
def test_retry_after_s_reads_both_forms(
    wish: str, date: str, now_s: float | None, expected: float | None
) -> None:
    """Seconds, or a date that is counted from the vendor's own clock before ours."""
    assert retry_after_s({"retry-after": wish, "date": date}, now_s) == expected


def test_one_line_of_what_is_not_text_is_empty() -> None:
    """An object may be the record."""
    assert one_line({"identity": "jack"}) == ""


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b'{"a": 1}', {"a": 1}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b'{"a": NaN, "b": 1e999}', {"a": None, "b": None}),
        (b'{"a": "\xff"}', {"a": "\ufffd"}),
        (b"[1]", None),
        (b"<html>", None),
        (b"[" * 100_000, None),
        (b'{"a": ' + b"9" * 5000 + b"}", None),
    ],
    ids=["object", "mark", "not a number", "not utf-8", "array", "html", "deep", "huge integer"],
)
def test_json_object_of_any_content_is_an_object_or_none(content: bytes, found: Any) -> None:
    """Whatever a vendor echoes, the rest of its response is still read."""
    assert json_object(content) == found
    assert json_object(content, exact) == found


def test_json_object_exact_keeps_long_integers() -> None:
    """An identity of twenty digits is the same after an export."""
    text = b'{"id": 123456789012345678901234, "nested": [' + b"1" * 400 + b"]}"
    assert json_object(text, exact) == {"id": 123456789012345678901234, "nested": [int("1" * 400)]}
    assert json_object(b'{"id": 18446744073709551615}') == {"id": 18446744073709551615}


@pytest.mark.parametrize(
    ("status", "content", "expected"),
    [
        (503, b"", (ResponseClass.UNAVAILABLE, "HTTP 503", 7.0)),
        (429, b'{"error": "slow down"}', (ResponseClass.THROTTLED, "slow down", 7.0)),
        (200, b"<html>", (ResponseClass.GARBLED, "success, but not a JSON object", None)),
    ],
)
def test_open_upload_without_verdicts_returns_the_result(
    status: int, content: bytes, expected: tuple[ResponseClass, str, float | None]
) -> None:
    """The class, the vendor's words if there are any, and how long it wants us to wait."""
    response = Response(status, {"retry-after": "7"}, content)
    result, _ = open_upload(response, lambda body: str(body.get("error", "")))
    assert result is not None
    assert (result.response_class, result.error, result.retry_after_s) == expected


def test_open_upload_success_returns_the_object() -> None:
    """What is in it is the vendor's own to read."""
    found = {"status": "success"}
    assert open_upload(Response(200, {}, orjson.dumps(found)), str) == (None, found)
