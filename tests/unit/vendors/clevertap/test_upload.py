"""The adapter of CleverTap's upload API: requests, recorded answers, and answers that are odd."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.environment import ROOT
from worker.errors import SettingsError
from worker.vendors.clevertap.upload import PERMANENT_CODES, CleverTap
from worker.vendors.protocol import Outcome, Response, ResponseClass, UploadResult
from worker.vendors.responses import MAX_ERROR_CHARS

VENDOR = CleverTap("https://api.clevertap.com", "TEST-ACC-OUNT", "s3cret-passcode")
ANSWERS = json.loads((ROOT / "tests" / "data" / "clevertap_answers.json").read_text())
UNCONFIRMED = ("retry", "unconfirmed", None)
TAKEN = ("delivered", "", None)


def read(size: int, body: Any, status: int = 200, **headers: str) -> UploadResult:
    """What the adapter reads from a body, given as bytes or as a JSON value."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return VENDOR.read("event", size, Response(status, named, content))


def outcomes(answer: UploadResult) -> list[tuple[str, str, int | None]]:
    """An answer's verdicts as plain tuples, in order."""
    return [(str(v.outcome), v.reason, v.code) for v in answer.verdicts]


def refusal(position: object, code: object = 513, text: str = "No.") -> dict[str, Any]:
    """One entry of `unprocessed` as the vendor words it."""
    error = f"{text} Skipped record number : {position}"
    return {"status": "fail", "code": code, "error": error, "record": {"identity": "jack"}}


@pytest.mark.parametrize("case", ANSWERS["recorded"], ids=lambda case: case["what"])
def test_read_recorded_responses_match_their_verdicts(case: dict[str, Any]) -> None:
    """The vendor's recorded answers, spacing included, give the verdicts they stand for."""
    answer = read(case["sent"], case["body"].encode(), case["status"])
    assert answer.response_class == case.get("response_class", "answered")
    assert [list(each) for each in outcomes(answer)] == case.get("verdicts", [])
    assert answer.error == case.get("error", "")
    assert answer.status == case["status"]


def test_upload_joins_the_bodies() -> None:
    """The bodies stand in the request as they were given, in their order."""
    request = VENDOR.upload("event", [b'{"a": 1}', b'{"b":2}'])
    assert request.content == b'{"d":[{"a": 1},{"b":2}]}'
    assert (request.method, request.path) == ("POST", "/1/upload")
    assert dict(request.headers) == {
        "X-CleverTap-Account-Id": "TEST-ACC-OUNT",
        "X-CleverTap-Passcode": "s3cret-passcode",
        "Content-Type": "application/json; charset=utf-8",
    }


def test_upload_dry_run_is_in_the_query() -> None:
    """Only dryRun=1 makes the vendor store nothing."""
    assert VENDOR.upload("profile", [b"{}"], dry_run=True).path == "/1/upload?dryRun=1"


def test_probe_is_a_dry_run_of_one_valid_record() -> None:
    """A probe stores nothing, and any verdict on it means that the account works."""
    request = VENDOR.probe()
    assert request.path == "/1/upload?dryRun=1"
    assert len(json.loads(request.content)["d"]) == 1
    taken = Response(200, {}, b'{"status":"success","processed":1,"unprocessed":[]}')
    refused = json.dumps({"status": "fail", "processed": 0, "unprocessed": [refusal(1)]}).encode()
    assert VENDOR.read_probe(taken).response_class is ResponseClass.ANSWERED
    assert VENDOR.read_probe(Response(200, {}, refused)).response_class is ResponseClass.ANSWERED
    assert VENDOR.read_probe(Response(401, {}, b"")).response_class is ResponseClass.DENIED
    assert VENDOR.read_probe(Response(200, {}, b"<html>")).response_class is ResponseClass.GARBLED


def test_repr_hides_credentials() -> None:
    """Neither the adapter nor a request of it shows the passcode when it is printed."""
    shown = f"{VENDOR!r} {VENDOR} {VENDOR.upload('event', [])!r} {VENDOR.probe().headers}"
    assert "s3cret" not in shown
    assert "TEST-ACC" not in shown


@pytest.mark.parametrize("passcode", ["", "line\nbreak", " padded ", "ümlaut"])
def test_credentials_that_fit_no_header_are_refused(passcode: str) -> None:
    """A passcode that HTTP cannot carry is named at start, and not shown."""
    with pytest.raises(SettingsError) as refused:
        CleverTap("https://api.clevertap.com", "ACC", passcode)
    assert not passcode.strip() or passcode not in str(refused.value)


@pytest.mark.parametrize(
    ("status", "response_class"),
    [
        (301, "denied"),
        (400, "refused"),
        (401, "denied"),
        (402, "denied"),
        (403, "denied"),
        (404, "denied"),
        (405, "denied"),
        (408, "unavailable"),
        (409, "unavailable"),
        (410, "denied"),
        (413, "too_large"),
        (422, "refused"),
        (429, "throttled"),
        (500, "unavailable"),
        (502, "unavailable"),
        (503, "unavailable"),
        (599, "unavailable"),
        (0, "unavailable"),
    ],
)
def test_read_failed_status_is_for_the_whole_request(status: int, response_class: str) -> None:
    """No record gets a verdict from a refusal of the request, whatever its body says."""
    answer = read(3, {"status": "success", "processed": 3, "unprocessed": []}, status)
    assert (answer.response_class, answer.verdicts, answer.status) == (response_class, (), status)
    assert answer.error == f"HTTP {status}"


@pytest.mark.parametrize("code", [401, 429, 500])
def test_read_success_without_counts_may_fail_as_a_whole(code: int) -> None:
    """The vendor reports many failures as HTTP 200 with a status-like code."""
    answer = read(2, {"status": "fail", "error": "No.", "code": code})
    assert answer.response_class == {401: "denied", 429: "throttled", 500: "unavailable"}[code]
    assert answer.error == "No."


@pytest.mark.parametrize("code", sorted(PERMANENT_CODES))
def test_read_permanent_code_makes_a_dead_letter(code: int) -> None:
    """Every published code but 555 sends its record, and no other, to the dead letters."""
    answer = read(2, {"status": "partial", "processed": 1, "unprocessed": [refusal(1, code)]})
    assert outcomes(answer) == [("dead", "refused", code), TAKEN]


def test_permanent_codes_are_the_published_ones() -> None:
    """22 codes are published beside 555."""
    gaps = {510, 511, 521, 527, 529}
    assert set(range(509, 536)) - gaps == PERMANENT_CODES


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (555, ("retry", "server_error", 555)),
        (510, ("retry", "unknown_code", 510)),
        (9999, ("retry", "unknown_code", 9999)),
        ("513", ("dead", "refused", 513)),
        (None, ("retry", "unknown_code", None)),
        (True, ("retry", "unknown_code", None)),
        ([513], ("retry", "unknown_code", None)),
        ("9" * 5000, ("retry", "unknown_code", None)),
    ],
)
def test_read_any_other_code_is_retried(
    code: object, expected: tuple[str, str, int | None]
) -> None:
    """A server error and an unknown code are retried; a wrong type is not a code."""
    answer = read(2, {"status": "partial", "processed": 1, "unprocessed": [refusal(2, code)]})
    assert outcomes(answer) == [TAKEN, expected]


def test_read_code_in_the_text_is_found() -> None:
    """The vendor writes some codes into the text too."""
    entry = refusal(1, None, "Event Name is incorrect. ErrorCode: 513 - Restricted.")
    answer = read(1, {"status": "fail", "processed": 0, "unprocessed": [entry]})
    assert outcomes(answer) == [("dead", "refused", 513)]


@pytest.mark.parametrize(
    ("size", "body", "expected"),
    [
        pytest.param(
            4,
            {"status": "partial", "processed": 2, "unprocessed": [refusal(4, 509), refusal(1)]},
            [("dead", "refused", 513), TAKEN, TAKEN, ("dead", "refused", 509)],
            id="in any order",
        ),
        pytest.param(
            3,
            {"status": "partial", "processed": 1, "unprocessed": [refusal(2), {"code": 513}]},
            [UNCONFIRMED, ("dead", "refused", 513), UNCONFIRMED],
            id="one entry without a position",
        ),
        pytest.param(
            3,
            {"status": "partial", "processed": 1, "unprocessed": [refusal(2), refusal(4)]},
            [UNCONFIRMED, ("dead", "refused", 513), UNCONFIRMED],
            id="one position out of range",
        ),
        pytest.param(
            3,
            {"status": "partial", "processed": 1, "unprocessed": [refusal(0), refusal(3)]},
            [UNCONFIRMED, UNCONFIRMED, ("dead", "refused", 513)],
            id="position 0",
        ),
        pytest.param(
            4,
            {
                "status": "partial",
                "processed": 1,
                "unprocessed": [refusal(2), refusal(2), refusal(3)],
            },
            [UNCONFIRMED, UNCONFIRMED, ("dead", "refused", 513), UNCONFIRMED],
            id="one position twice",
        ),
        pytest.param(
            3,
            {"status": "partial", "processed": 3, "unprocessed": [refusal(2)]},
            [UNCONFIRMED, ("dead", "refused", 513), UNCONFIRMED],
            id="more than were sent",
        ),
        pytest.param(
            3,
            {"status": "partial", "processed": 1, "unprocessed": [refusal(2)]},
            [UNCONFIRMED, ("dead", "refused", 513), UNCONFIRMED],
            id="fewer than were sent",
        ),
        pytest.param(
            2,
            {"status": "partial", "processed": "1", "unprocessed": [refusal(2)]},
            [UNCONFIRMED, ("dead", "refused", 513)],
            id="a count of another type",
        ),
        pytest.param(
            2,
            {"status": "fail", "processed": 1, "unprocessed": [refusal(2)]},
            [UNCONFIRMED, ("dead", "refused", 513)],
            id="a word that contradicts the counts",
        ),
        pytest.param(
            2,
            {"status": "fail", "processed": 0, "unprocessed": [{"code": 528}, {"code": 528}]},
            [("dead", "refused", 528)] * 2,
            id="no positions, but all refused for the same",
        ),
        pytest.param(
            2,
            {"processed": 2, "unprocessed": None},
            [TAKEN, TAKEN],
            id="no word, no list, but all counted",
        ),
    ],
)
def test_read_doubtful_records_are_unconfirmed(
    size: int, body: dict[str, Any], expected: list[tuple[str, str, int | None]]
) -> None:
    """A record is delivered only when counts and positions leave nothing else; a refusal that
    names a record is believed, and the rest is tried again."""
    answer = read(size, body)
    assert answer.response_class is ResponseClass.ANSWERED
    assert outcomes(answer) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>busy</html>",
        b"[]",
        b"null",
        b'"success"',
        b"{}",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"processed":1e400,"unprocessed":[]}',
        b'{"processed":' + b"9" * 6000 + b"}",
        {"status": "success"},
        {"status": "success", "processed": 3, "unprocessed": {}},
        {"status": "success", "processed": 2, "unprocessed": []},
        {"status": "success", "processed": -1, "unprocessed": [1, 2, 3, 4]},
        {"status": "success", "processed": True, "unprocessed": []},
        {"status": "partial", "processed": 3, "unprocessed": []},
        {"status": "fail", "processed": 3, "unprocessed": []},
        {"status": ["success"], "processed": 3, "unprocessed": []},
        {"status": "fail", "processed": 0, "unprocessed": []},
        {"status": "fail", "processed": 0, "unprocessed": [None, 7, "x"]},
        {"status": "fail", "error": "No.", "code": 513},
    ],
    ids=lambda body: str(body)[:40],
)
def test_read_success_without_information_is_garbled(body: Any) -> None:
    """Success without a sure word on any record leaves the whole batch to be tried again."""
    answer = read(3, body)
    assert (answer.response_class, answer.verdicts) == (ResponseClass.GARBLED, ())
    assert answer.error


def test_read_unclean_echo_does_not_hide_the_result() -> None:
    """A lone surrogate, NaN or broken UTF-8 in an echo leaves the positions readable."""
    entry = b'{"code":513,"error":"No.Skipped record number : 1","record":%b}'
    for echo in (b'"\\ud800"', b"NaN", b'"\xff"'):
        body = b'{"status":"partial","processed":1,"unprocessed":[' + entry % echo + b"]}"
        assert outcomes(read(2, body)) == [("dead", "refused", 513), TAKEN]


def test_read_texts_are_bounded_and_hold_no_record() -> None:
    """What goes into logs and dead letters is one short line, without echo and position."""
    long = refusal(1, 513, "x" * 5000)
    echo = {"code": 513, "error": 'Bad: {"identity":"jack"}. Skipped record number : 2'}
    lines = {"code": 513, "error": "a\nb\x00c\ud800. Skipped record number : 3"}
    body = {"status": "fail", "processed": 0, "unprocessed": [long, echo, lines]}
    errors = [verdict.error for verdict in read(3, body).verdicts]
    assert len(errors[0]) == MAX_ERROR_CHARS
    assert errors[1:] == ["Bad:", "a b c ."]
    assert read(1, {"error": {"identity": "jack"}}, 400).error == "HTTP 400"


def test_read_retry_after_is_returned() -> None:
    """A throttled answer carries the vendor's wish."""
    assert read(1, b"", 429, retry_after="7").retry_after_s == 7.0


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
entries = st.fixed_dictionaries(
    {},
    optional={
        "code": json_values | st.sampled_from([509, 513, 528, 555, 999]),
        "error": json_values | st.integers(-1, 7).map(lambda n: f"No.Skipped record number : {n}"),
    },
)
bodies = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from(["success", "partial", "fail"]) | json_values,
        "processed": st.integers(-1, 6) | json_values,
        "unprocessed": st.lists(entries | json_values, max_size=6) | json_values,
        "code": st.sampled_from([401, 429, 513]) | json_values,
        "error": json_values,
    },
)


@given(
    size=st.integers(0, 5),
    status=st.sampled_from([200, 202, 400, 401, 413, 429, 503]) | st.integers(-1, 999),
    content=st.binary() | bodies.map(lambda body: json.dumps(body).encode()),
    headers=st.dictionaries(st.sampled_from(["retry-after", "date", "x"]), st.text()),
)
def test_read_any_response_returns_verdicts_or_a_class(
    size: int, status: int, content: bytes, headers: dict[str, str]
) -> None:
    """Whatever comes back, there is a verdict for each record or a meaning for all of them."""
    answer = VENDOR.read("event", size, Response(status, headers, content))
    if answer.response_class is ResponseClass.ANSWERED:
        assert len(answer.verdicts) == size
    else:
        assert answer.verdicts == ()
        assert answer.error
    assert all(len(verdict.error) <= MAX_ERROR_CHARS for verdict in answer.verdicts)


@given(size=st.integers(1, 5), body=bodies)
def test_read_delivered_is_never_more_than_counted(size: int, body: dict[str, Any]) -> None:
    """As many records are called delivered as the vendor says it processed, or none."""
    answer = read(size, body)
    delivered = sum(verdict.outcome is Outcome.DELIVERED for verdict in answer.verdicts)
    assert delivered in (0, body.get("processed"))
    assert not delivered or delivered + len(body.get("unprocessed") or []) == size


@given(outcome=st.lists(st.sampled_from([None, 509, 513, 528, 555, 777]), min_size=1, max_size=30))
def test_read_any_mix_of_records_keeps_its_order(outcome: list[int | None]) -> None:
    """A faithful answer, in whatever order it lists its refusals, gives each record its own."""
    entries = [refusal(at, code) for at, code in enumerate(outcome, 1) if code is not None]
    word = "success" if not entries else "fail" if len(entries) == len(outcome) else "partial"
    body = {"status": word, "processed": len(outcome) - len(entries), "unprocessed": entries[::-1]}
    found = read(len(outcome), body)
    assert [verdict.code for verdict in found.verdicts] == outcome
    assert [verdict.outcome is Outcome.DELIVERED for verdict in found.verdicts] == [
        code is None for code in outcome
    ]
