"""Replies of CleverTap's read-back APIs, as a table."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.vendors.clevertap.reads import (
    ClevertapReads,
    ReadReply,
    ReplyKind,
    cursor_in,
    parse_reply,
    whole_number,
)
from worker.vendors.clevertap.upload import CleverTap
from worker.vendors.protocol import Response, ResponseClass, UploadResult

READS = ClevertapReads(CleverTap("https://api.clevertap.com", "TEST-ACC-OUNT", "s3cret-passcode"))


def reply(body: Any, status: int = 200, **headers: str) -> ReadReply:
    """What is read from a body, given as bytes or as a JSON value."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse_reply(Response(status, headers, content))


def fail(error: Any, code: Any = None) -> dict[str, Any]:
    """A failure in the vendor's shape."""
    return {"status": "fail", "error": error, "code": code}


TABLE = [
    (200, {"status": "success", "cursor": "a%2Fb"}, ReplyKind.DATA),
    (200, {"status": "success"}, ReplyKind.DATA),
    (200, {"status": "partial", "req_id": 384649162721759}, ReplyKind.DATA),
    (200, fail("Request still in progress, please retry later", 2), ReplyKind.BUSY),
    (200, fail("Request still in progress, please retry later", "2"), ReplyKind.BUSY),
    (400, fail("Request still in progress, please retry later"), ReplyKind.BUSY),
    (200, fail("Incorrect Usage", 3), ReplyKind.LOST),
    (200, fail("Invalid cursor", "CURSOR_INVALIDATED"), ReplyKind.LOST),
    (400, fail("Cursor has expired"), ReplyKind.LOST),
    (400, fail("CURSOR_INVALIDATED", 400), ReplyKind.LOST),
    (400, fail("invalid request id", 400), ReplyKind.LOST),
    (200, fail('["Invalid event : Uninstalled"]', 400), ReplyKind.REFUSED),
    (200, fail("Invalid date", 4002), ReplyKind.REFUSED),
    (200, fail("something else"), ReplyKind.REFUSED),
    (400, fail("Export not allowed for this event", 400), ReplyKind.REFUSED),
    (404, fail("Resource not found", 404), ReplyKind.REFUSED),
    (302, b"", ReplyKind.REFUSED),
    (401, fail("Account ID is not valid", 401), ReplyKind.DENIED),
    (403, b"<html>", ReplyKind.DENIED),
    (200, fail("Invalid Credentials", 401), ReplyKind.DENIED),
    (429, fail("Too many concurrent requests", 429), ReplyKind.THROTTLED),
    (200, fail("Too many concurrent requests", 429), ReplyKind.THROTTLED),
    (500, fail("Invalid cursor", 500), ReplyKind.FAILED),
    (503, b"", ReplyKind.FAILED),
    (200, fail("try later", 503), ReplyKind.FAILED),
    (200, b"<html>It works!</html>", ReplyKind.FAILED),
    (200, b"[]", ReplyKind.FAILED),
    (200, {}, ReplyKind.FAILED),
    (200, {"status": "odd", "records": []}, ReplyKind.FAILED),
    (200, {"records": []}, ReplyKind.DATA),
    (200, {"count": 1}, ReplyKind.DATA),
]


@pytest.mark.parametrize(("status", "body", "kind"), TABLE)
def test_parse_reply_response_has_one_kind(status: int, body: Any, kind: ReplyKind) -> None:
    """Every shape that the vendor's pages or its clients report leads to one way on."""
    assert reply(body, status).kind is kind


def test_parse_reply_error_keeps_the_vendors_words() -> None:
    """A JSON array inside a string is unpacked; status and code stand beside the words."""
    error = reply(fail('["Invalid event : Uninstalled","Second"]', 4002)).error
    assert error == "Invalid event : Uninstalled; Second (HTTP 200, code 4002)"
    for failed in ({"message": "Not so"}, '{"error": "Not so"}', [{"reason": "Not so"}]):
        assert reply(fail(failed, 400), 400).error == "Not so (HTTP 400)"
    assert reply(fail(None, 400), 400).error == "no reason given (HTTP 400)"
    assert reply(fail('["broken', 400), 400).error == '["broken (HTTP 400)'


def test_parse_reply_without_a_response_is_failed() -> None:
    """Reading changes nothing at the vendor, so even an ambiguous end is only tried again."""
    assert (
        parse_reply(UploadResult(ResponseClass.AMBIGUOUS, error="no whole answer")).kind
        is ReplyKind.FAILED
    )


@given(st.binary(max_size=200), st.integers(100, 599))
def test_parse_reply_any_response_is_parsed(content: bytes, status: int) -> None:
    """No answer, however odd, raises."""
    assert reply(content, status).kind in ReplyKind


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3),
    )
)
def test_parse_reply_error_of_any_type_is_text(error: Any) -> None:
    """An error that is not text becomes a line all the same."""
    text = reply(json.dumps(fail(error, error)).encode()).error
    assert "\n" not in text


def test_page_cursor_stays_as_it_came() -> None:
    """A cursor comes percent-encoded, and a page's request holds it byte for byte."""
    cursor = "AfljfgIJBgBnamF5Kz8NegcBAwxhbCe%2Fbmhhe04BBAVlYjT4YG5reQEATQQrai57K2oue04FAUhnd38%3D"
    assert READS.page(cursor).path == f"/1/events.json?cursor={cursor}"


def test_cursor_in_last_page_is_none() -> None:
    """No cursor, null and an empty one are the end; what cannot stand in an address is refused."""
    ends: list[dict[str, Any]] = [{}, {"next_cursor": None}, {"next_cursor": ""}]
    assert [cursor_in(body, "next_cursor") for body in ends] == [None, None, None]
    for odd in (7, "a b", "a\r\nX: y", ["a"], "x" * 9000):
        with pytest.raises(ValueError, match="not a valid cursor"):
            cursor_in({"next_cursor": odd}, "next_cursor")


def test_whole_number_reads_text_too() -> None:
    """A count may come as text; a boolean, a negative or a broken number is none."""
    values = (7138, "7138", 0, True, -1, 1.5, "x", None, "٣")
    found = [whole_number(value) for value in values]
    assert found == [7138, 7138, 0, None, None, None, None, None, None]
