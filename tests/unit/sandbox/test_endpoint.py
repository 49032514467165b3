"""What both vendors' endpoints have in common: odd requests, unknown paths, faults."""

from __future__ import annotations

import httpx
import pytest

from support.sandbox import DAYS, PROJECT, events, reported

DEEP = {levels: f"{'[' * levels}1{']' * levels}" for levels in (300, 600, 1000)}
NAMELESS = '{"d": [{"type": "event", "x": %s}]}'
UNKNOWN_KEY = '{"d": [{"identity": "a", "type": "event", "evtName": "b", "evtData": {}, "x": %s}]}'
EXPORT = '{"event_name": "a", "from": %s, "to": 20261231}'
ODD_QUESTIONS = {
    "a record nested deeply": ("POST", "/1/upload", UNKNOWN_KEY % DEEP[300], 400),
    "a refused record nested deeply": ("POST", "/1/upload", NAMELESS % DEEP[600], 400),
    "deeper still": ("POST", "/1/upload", NAMELESS % DEEP[1000], 400),
    "a day of 18 digits": ("POST", "/1/events.json", EXPORT % "202601010000000000", 200),
    "a day beyond counting": ("POST", "/1/events.json", EXPORT % "1e300", 200),
    "a page of 5000 digits": (
        "POST",
        f"/1/events.json?batch_size={'9' * 5000}",
        EXPORT % DAYS["from"],
        400,
    ),
    "a req_id of 5000 digits": ("GET", f"/1/counts/events.json?req_id={'9' * 5000}", "", 400),
    "an event nested deeply": (
        "POST",
        f"{PROJECT}/customers/events",
        f'{{"customer_ids": {{"a": "b"}}, "event_type": "c", "properties": {{"d": {DEEP[300]}}}}}',
        200,
    ),
    "ids nested deeply": (
        "POST",
        f"{PROJECT}/customers/events",
        f'{{"customer_ids": {{"a": {DEEP[1000]}}}, "event_type": "c"}}',
        200,
    ),
    "a command with a list for a name": (
        "POST",
        f"{PROJECT}/batch",
        '{"commands": [{"name": [], "data": {}}]}',
        200,
    ),
    "more records than there are": ("GET", f"/sandbox/records?limit={'9' * 20}", "", 400),
    "a fault of 5000 digits": ("DELETE", f"/sandbox/faults?id={'9' * 5000}", "", 400),
}


@pytest.mark.parametrize("case", ODD_QUESTIONS)
def test_odd_request_has_the_vendors_response(client: httpx.Client, case: str) -> None:
    """There is never a server error, and nothing is kept."""
    method, path, content, status = ODD_QUESTIONS[case]
    answer = client.request(method, path, content=content)
    assert answer.status_code == status, answer.text
    assert "cursor" not in answer.text
    assert client.get("/sandbox/ledger").json()["kept"] == 0


def test_unknown_path_or_method_has_the_vendors_response(client: httpx.Client) -> None:
    """The vendor responds, not the framework."""
    assert client.get("/1/upload").json()["code"] == 405
    assert client.get("/1/nothing.json").json()["code"] == 404
    assert "description" in client.get("/track/v2/nothing").json()["errors"]


def test_faults_replace_responses(client: httpx.Client) -> None:
    """Statuses with Retry-After, nonsense, an empty failure and whole bodies come as requested."""
    rules = [
        {"status": 429, "retry_after": "2", "times": 1},
        {"kind": "nonsense", "times": 1},
        {"kind": "empty", "times": 1},
        {"status": 200, "body": "{}", "times": 1},
    ]
    assert client.post("/sandbox/faults", json=rules).status_code == 201
    first = client.post("/1/upload", json=events(1))
    assert (first.status_code, first.headers["retry-after"]) == (429, "2")
    assert "It works" in client.post("/1/upload", json=events(2)).text
    empty = client.post("/1/upload", json=events(3)).text
    assert empty == '{ "status" : "fail" , "processed" : 0 , "unprocessed" : [ ]}'
    assert client.post("/1/upload", json=events(4)).text == "{}"
    assert [rule["met"] for rule in client.get("/sandbox/faults").json()] == [1, 1, 1, 1]
    assert client.delete("/sandbox/faults").json() == {"cleared": 4}
    assert reported(client)["records"] == {"event": 1}
