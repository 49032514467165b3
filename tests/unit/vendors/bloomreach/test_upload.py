"""The adapter of Bloomreach's tracking API: requests, and answers in every shape they come in."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import SettingsError, VendorError
from worker.vendors.bloomreach.upload import Bloomreach
from worker.vendors.protocol import Outcome, Response, ResponseClass, UploadResult
from worker.vendors.responses import MAX_ERROR_CHARS

VENDOR = Bloomreach("https://api.exponea.com/", "project", "key", "s3cret")
PROJECT = "/track/v2/projects/project"
TAKEN = ("delivered", "", None, "")
UNCONFIRMED = ("retry", "unconfirmed", None, "the response does not confirm it")
NO_ID = "At least one id should be specified."


def dead(text: str, code: int | None = None) -> tuple[str, str, int | None, str]:
    """A verdict that the vendor will not change."""
    return ("dead", "refused", code, text)


def read(size: int, body: Any, status: int = 200, **headers: str) -> UploadResult:
    """What the adapter reads from a body, given as bytes or as a JSON value."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return VENDOR.read("event", size, Response(status, named, content))


def outcomes(answer: UploadResult) -> list[tuple[str, str, int | None, str]]:
    """An answer's verdicts as plain tuples, in order."""
    return [(str(v.outcome), v.reason, v.code, v.error) for v in answer.verdicts]


def batch(*results: Any, **changes: Any) -> dict[str, Any]:
    """A batch's answer, as the vendor words it."""
    times = {"start_time": 1533833360.23, "end_time": 1533833360.25}
    return {"results": list(results), **times, "success": True, **changes}


def refused(position: int | str, errors: Any = (NO_ID,)) -> dict[str, Any]:
    """The result of a command that was refused."""
    given = list(errors) if isinstance(errors, tuple) else errors
    return {"success": False, "errors": given, "command_id": str(position)}


def taken(position: int | str) -> dict[str, Any]:
    """The result of a command that was queued."""
    return {"success": True, "command_id": str(position)}


@pytest.mark.parametrize(
    ("kind", "name"), [("event", "customers/events"), ("profile", "customers")]
)
def test_upload_one_record_is_a_single_call(kind: str, name: str) -> None:
    """The body is sent as it is, to the endpoint of its kind."""
    request = VENDOR.upload(kind, [b'{"a": 1}'])
    assert (request.method, request.path) == ("POST", f"{PROJECT}/{name}")
    assert request.content == b'{"a": 1}'


@pytest.mark.parametrize(
    ("kind", "name"), [("event", "customers/events"), ("profile", "customers")]
)
def test_upload_several_records_joins_them_to_a_batch(kind: str, name: str) -> None:
    """Each command has its name, its position as command_id, and the body as it was given."""
    request = VENDOR.upload(kind, [b'{"a": 1}', b'{"b":"%"}'])
    assert (request.method, request.path) == ("POST", f"{PROJECT}/batch")
    assert b'"data":{"a": 1}}' in request.content
    assert json.loads(request.content) == {
        "commands": [
            {"name": name, "command_id": "1", "data": {"a": 1}},
            {"name": name, "command_id": "2", "data": {"b": "%"}},
        ]
    }


def test_authorization_with_a_secret_is_private() -> None:
    """Basic with key and secret; Token with the key alone."""
    private = VENDOR.upload("event", [b"{}"]).headers["Authorization"]
    assert private == "Basic " + b64encode(b"key:s3cret").decode()
    public = Bloomreach("https://x", "project", "token").upload("event", [b"{}"])
    assert public.headers["Authorization"] == "Token token"
    assert public.headers["Content-Type"] == "application/json"


def test_repr_hides_credentials() -> None:
    """A request can be logged: its headers show their names alone, the adapter its address."""
    request = VENDOR.upload("event", [b"{}"])
    for shown in (repr(request), str(request.headers), repr(VENDOR)):
        assert "s3cret" not in shown
        assert b64encode(b"key:s3cret").decode() not in shown
    assert VENDOR.base_url == "https://api.exponea.com"


@pytest.mark.parametrize(
    ("token", "key", "secret"),
    [("", "k", "s"), ("p", "", "s"), ("p", "k\n", "s"), ("p", "k", " s"), ("p", "a:b", "s"),
     ("p\u011b", "k", "s")],
)  # fmt: skip
def test_credentials_that_fit_no_header_are_refused(token: str, key: str, secret: str) -> None:
    """The error names the setting and not its value."""
    with pytest.raises(SettingsError):
        Bloomreach("https://x", token, key, secret)


def test_project_token_with_a_slash_is_escaped() -> None:
    """A token is not a path: what could lead elsewhere is escaped."""
    request = Bloomreach("https://x", "a/../b?c", "k", "s").probe()
    assert request.path == "/track/v2/projects/a%2F..%2Fb%3Fc/system/time"


def test_upload_dry_run_is_refused() -> None:
    """Nothing is sent where it would be stored."""
    with pytest.raises(VendorError, match="no dry run"):
        VENDOR.upload("event", [b"{}"], dry_run=True)


def test_probe_requests_the_time() -> None:
    """It stores nothing; any other word than success leaves the destination parked."""
    request = VENDOR.probe()
    assert (request.method, request.path, request.content) == ("GET", f"{PROJECT}/system/time", b"")
    for status, body, response_class in (
        (200, b'{"errors":[],"success":true,"time":1533663283.8943756}', ResponseClass.ANSWERED),
        (200, b'{"success":false,"errors":"Field project_id is required"}', ResponseClass.DENIED),
        (400, b'{"success":false,"error":"Could not authenticate"}', ResponseClass.DENIED),
        (403, b"", ResponseClass.DENIED),
        (200, b"<html>", ResponseClass.GARBLED),
        (503, b"", ResponseClass.UNAVAILABLE),
    ):
        assert VENDOR.read_probe(Response(status, {}, body)).response_class is response_class


ERRORS: list[tuple[dict[str, Any], str, int | None]] = [
    ({"errors": "Field project_id is required"}, "Field project_id is required", None),
    ({"errors": [NO_ID]}, NO_ID, None),
    ({"errors": ["one", "two"]}, "one; two", None),
    ({"errors": {"_global": ["not authorized"]}}, "not authorized", None),
    ({"errors": {"properties": ["must be an object"]}}, "properties: must be an object", None),
    ({"errors": {"a": ["x"], "b": "y"}}, "a: x; b: y", None),
    ({"errors": {"code": 404, "description": "not found"}}, "not found", 404),
    ({"errors": [{"code": 1, "description": "odd"}]}, "odd", None),
    ({"errors": [], "error": "no permission"}, "no permission", None),
    ({"error": "no permission"}, "no permission", None),
    ({"message": "No commands"}, "No commands", None),
    ({"error": {"message": "deep"}}, "deep", None),
    ({"errors": None}, "refused without a reason", None),
    ({"errors": [None, 7, {}]}, "refused without a reason", None),
    ({}, "refused without a reason", None),
]


@pytest.mark.parametrize(("given", "text", "code"), ERRORS, ids=lambda v: str(v)[:40])
def test_read_error_of_every_shape_is_understood(
    given: dict[str, Any], text: str, code: int | None
) -> None:
    """A refusal of one record, alone or in a batch, is permanent and carries the vendor's words."""
    alone = read(1, {"success": False, **given})
    assert outcomes(alone) == [dead(text, code)]
    among = read(2, batch(taken(1), {"success": False, "command_id": "2", **given}))
    assert outcomes(among) == [TAKEN, dead(text, code)]


@pytest.mark.parametrize(
    "body", [{"errors": [], "success": True}, {"success": True}, batch(taken(1))], ids=str
)
def test_read_single_success_is_delivered(body: Any) -> None:
    """With the list of errors empty, absent, or in a batch's shape."""
    assert outcomes(read(1, body)) == [TAKEN]


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ([taken(1), taken(2), taken(3)], [TAKEN] * 3),
        ([taken(3), refused(1), taken(2)], [dead(NO_ID), TAKEN, TAKEN]),
        ([refused(1), refused(2), refused(3)], [dead(NO_ID)] * 3),
        ([taken(1), taken(3)], [TAKEN, UNCONFIRMED, TAKEN]),
        ([taken(1), taken(2), {"success": True}], [TAKEN, TAKEN, UNCONFIRMED]),
        ([taken(1), taken(2), taken(2)], [TAKEN, UNCONFIRMED, UNCONFIRMED]),
        ([taken(1), taken(2), taken(9)], [TAKEN, TAKEN, UNCONFIRMED]),
        ([taken(1), taken(2), taken("abc"), taken("03")], [TAKEN, TAKEN, UNCONFIRMED]),
        ([taken(1), taken(2), {"command_id": "3"}], [TAKEN, TAKEN, UNCONFIRMED]),
        ([taken(1), taken(2), {"success": 1, "command_id": "3"}], [TAKEN, TAKEN, UNCONFIRMED]),
        ([taken(1), None, {"success": True, "command_id": 2}], [TAKEN, TAKEN, UNCONFIRMED]),
        ([{"success": True}, {"success": False, "errors": [NO_ID]}, {"success": True, "time": 1.5}],
         [TAKEN, dead(NO_ID), TAKEN]),
        ([{"success": True}, "odd", {"success": True}], [TAKEN, UNCONFIRMED, TAKEN]),
    ],
)  # fmt: skip
def test_read_results_are_matched_by_command_id(results: list[Any], expected: list[Any]) -> None:
    """By order only when no result names its command and none is missing."""
    answer = read(3, batch(*results))
    assert answer.response_class is ResponseClass.ANSWERED
    assert outcomes(answer) == expected


@pytest.mark.parametrize(
    "body",
    [
        batch(),
        batch({"success": True}, {"success": True}),
        batch(*[{"success": True}] * 4),
        batch(taken(7), taken(8), taken(9)),
        {"success": True},
        {"success": True, "results": {"1": True}},
        {"success": True, "results": None},
        {},
        [],
        "ok",
        b"",
        b"<html>",
        b'{"results":[{"success":true',
    ],
    ids=str,
)
def test_read_success_without_results_is_garbled(body: Any) -> None:
    """Nothing is called delivered on the strength of HTTP 200 alone."""
    answer = read(3, body)
    assert (answer.response_class, list(answer.verdicts), answer.status) == (
        ResponseClass.GARBLED,
        [],
        200,
    )


def test_read_failed_batch_trusts_only_refusals() -> None:
    """The whole and its parts contradict each other: what was queued is not sure."""
    answer = read(2, batch(taken(1), refused(2), success=False))
    assert outcomes(answer) == [UNCONFIRMED, dead(NO_ID)]


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize(
    ("status", "body", "response_class", "error"),
    [
        (400, {"success": False, "error": "Could not authenticate"}, "denied", None),
        (400, {"success": False, "error": "Invalid project id"}, "denied", None),
        (400, {"success": False, "errors": ["could not authenticate."]}, "denied", None),
        (200, {"success": False, "error": "Invalid project id"}, "denied", None),
        (400, {"success": False, "message": "Invalid JSON"}, "refused", None),
        (400, {"success": False, "message": "No commands"}, "refused", None),
        (400, {"success": False, "errors": [NO_ID]}, "refused", NO_ID),
        (422, b"", "refused", "HTTP 422"),
        (401, {"success": False, "error": "Access key not provided"}, "denied", None),
        (401, {"success": False, "error": "access key not found"}, "denied", None),
        (403, {"success": False, "error": "invalid secret"}, "denied", None),
        (403, {"success": False, "errors": {"_global": ["no permission"]}}, "denied", None),
        (404, {"errors": {"code": 404, "description": "not found"}}, "denied", "not found"),
        (405, b"", "denied", "HTTP 405"),
        (302, b"", "denied", "HTTP 302"),
        (413, b"<html>", "too_large", "HTTP 413"),
        (429, {"success": False, "error": "Too many requests"}, "throttled", None),
        (500, b"", "unavailable", "HTTP 500"),
        (503, {"success": False, "error": "unavailable"}, "unavailable", "unavailable"),
    ],
)
def test_read_whole_request_is_judged_by_status_and_text(
    size: int, status: int, body: Any, response_class: str, error: str | None
) -> None:
    """Wrong credentials park the destination although some come as HTTP 400, or even 200."""
    answer = read(size, body, status)
    assert (answer.response_class, list(answer.verdicts), answer.status) == (
        response_class,
        [],
        status,
    )
    expected = error or next(
        value for key in ("errors", "error", "message") if (value := body.get(key))
    )
    assert answer.error == expected or answer.error in str(expected)


def test_read_batch_refused_with_http_200_is_refused() -> None:
    """HTTP 200 with success false is "similar to HTTP 400": no word on which command."""
    answer = read(2, {"success": False, "errors": "Field project_id is required"})
    assert (answer.response_class, answer.error) == (
        ResponseClass.REFUSED,
        "Field project_id is required",
    )


def test_read_retry_after_is_returned() -> None:
    """Whether the vendor sends it is not sure; when it does, it counts."""
    assert read(2, b"", 429, retry_after="7").retry_after_s == 7
    assert read(2, b"", 503).retry_after_s is None


def test_read_error_is_one_line_without_the_record() -> None:
    """An error is for people and logs: what may be personal data is cut off."""
    given = ['bad value {"email": "jack@example.com"}', "x" * 2000]
    (verdict,) = read(1, {"success": False, "errors": given}).verdicts
    assert "jack" not in verdict.error
    assert verdict.error.startswith("bad value")
    assert len(verdict.error) <= MAX_ERROR_CHARS


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(
            ["results", "success", "errors", "error", "message", "command_id", "code",
             "description", "_global"]
        ) | st.text(max_size=3),
        inner,
        max_size=4,
    ),
    max_leaves=20,
)  # fmt: skip
_results = st.lists(
    st.fixed_dictionaries(
        {"success": st.booleans() | st.none()},
        optional={"command_id": st.integers(-1, 6).map(str) | st.integers(-1, 6) | _json,
                  "errors": _json},
    ) | _json,
    max_size=6,
)  # fmt: skip


@given(st.integers(100, 599), st.binary() | _json | _results.map(lambda r: batch(*r)),
       st.integers(1, 5), st.text())  # fmt: skip
def test_read_any_response_returns_verdicts_or_a_class(
    status: int, body: Any, size: int, retry_after: str
) -> None:
    """Whatever comes back: a verdict for each record, or none and a meaning for all."""
    answer = read(size, body, status, retry_after=retry_after)
    assert len(answer.verdicts) == (size if answer.response_class is ResponseClass.ANSWERED else 0)
    answer.error.encode()
    for verdict in answer.verdicts:
        verdict.error.encode()
        assert verdict.outcome is not Outcome.DELIVERED or 200 <= status <= 299


@given(st.permutations(range(1, 8)), st.sets(st.integers(1, 7)))
def test_read_order_of_results_makes_no_difference(order: list[int], doomed: set[int]) -> None:
    """Whichever way the results come, each refusal finds its own record."""
    answer = read(7, batch(*[refused(n) if n in doomed else taken(n) for n in order]))
    expected = [dead(NO_ID) if n in doomed else TAKEN for n in range(1, 8)]
    assert outcomes(answer) == expected


@pytest.mark.parametrize(
    ("errors", "text"),
    [
        ('["first", "second"]', "first; second"),
        ('{"errors": {"event_type": ["missing"]}}', "event_type: missing"),
        ('{"error": "[\\"deep\\"]"}', "deep"),
        ('{"message": "no", "email": "a@b.example"}', "no"),
        ('{"email": "a@b.example"}', "refused without a reason"),
        ('["broken', '["broken'),
        (["[1]", "plain"], "[1]; plain"),
    ],
)
def test_read_error_as_json_in_a_text_is_unpacked(errors: Any, text: str) -> None:
    """JSON inside a string is unpacked; of an object only what is an error by name counts."""
    assert outcomes(read(1, {"success": False, "errors": errors}))[0][3] == text
