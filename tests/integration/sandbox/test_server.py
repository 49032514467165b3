"""The sandbox as a server, spoken to over real sockets."""

from __future__ import annotations

import base64
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from support.environment import ROOT, environment
from worker.sandbox.sample_traffic import expected_refusals, sample
from worker.sandbox.server import Running, running
from worker.sandbox.settings import SandboxSettings

ACCOUNT = {"X-CleverTap-Account-Id": "SBX-LOCAL-DEV", "X-CleverTap-Passcode": "sandbox-passcode"}
PROJECT = "/track/v2/projects/sandbox-project"
KEY = {"Authorization": "Basic " + base64.b64encode(b"sandbox-key:sandbox-secret").decode()}
DAYS = {"from": 20200101, "to": 20991231}

pytestmark = pytest.mark.integration


@pytest.fixture
def sandbox() -> Iterator[Running]:
    """One as shipped, of its own."""
    with running() as started:
        yield started


@pytest.fixture
def client(sandbox: Running) -> Iterator[httpx.Client]:
    """Speaks to it with the right credentials of both vendors."""
    with httpx.Client(base_url=sandbox.url, headers=ACCOUNT | KEY, timeout=60) as opened:
        yield opened


def events(*numbers: int, name: str = "Product viewed") -> dict[str, Any]:
    """An upload's body."""
    return {
        "d": [
            {"identity": "a", "type": "event", "evtName": name, "evtData": {"n": n, "Price": n}}
            for n in numbers
        ]
    }


def ledger(client: httpx.Client, vendor: str = "clevertap") -> dict[str, Any]:
    """What the sandbox says it took."""
    reported: dict[str, Any] = client.get("/sandbox/ledger").json()["vendors"][vendor]
    return reported


def test_upload_is_counted_in_the_ledger(client: httpx.Client) -> None:
    """The response has the recorded bytes, and the ledger counts what was accepted and refused."""
    answer = client.post("/1/upload", json=events(1, 2))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json;charset=utf-8"
    assert answer.text == '{ "status" : "success" , "processed" : 2 , "unprocessed" : [ ]}'
    answer = client.post("/1/upload", json={"d": [*events(3)["d"], *events(4, name="Stayed")["d"]]})
    assert answer.json()["status"] == "partial"
    reported = ledger(client)
    assert reported["records"] == {"event": 3}
    assert reported["refused"] == {"513": 1}
    assert reported["requests"] == {"200": 2}


def test_upload_of_mixed_kinds_is_counted_by_kind(client: httpx.Client) -> None:
    """Events, profiles and tokens may share a request."""
    profile = {"identity": "a", "type": "profile", "profileData": {"Name": "Ada"}}
    token = {"type": "token", "objectId": "x1", "tokenData": {"id": "t", "type": "fcm"}}
    body = {"d": [*events(1)["d"], profile, token]}
    assert client.post("/1/upload", json=body).json()["processed"] == 3
    assert ledger(client)["records"] == {"event": 1, "profile": 1, "token": 1}


def test_upload_dry_run_is_counted_apart(client: httpx.Client) -> None:
    """dryRun=1 validates and stores nothing; dryRun=0 is a real upload."""
    answer = client.post("/1/upload?dryRun=1", json=events(1, name="Stayed"))
    assert answer.json()["unprocessed"][0]["code"] == 513
    client.post("/1/upload?dryRun=1", json=events(1))
    reported = ledger(client)
    assert (reported["records"], reported["refused"], reported["dry_run"]) == ({}, {}, 2)
    client.post("/1/upload?dryRun=0", json=events(1))
    assert ledger(client)["records"] == {"event": 1}


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


def test_bloomreach_key_that_is_not_base64_is_unknown(client: httpx.Client) -> None:
    """Bytes that base64 cannot contain are an unknown key."""
    answer = client.post(f"{PROJECT}/batch", headers={b"Authorization": b"Basic \xff"}, json={})
    assert (answer.status_code, answer.json()["error"]) == (401, "access key not found")


def test_record_fault_applies_to_an_invalid_record(client: httpx.Client) -> None:
    """A fault may refuse a record with any code, whatever else is wrong with it."""
    client.post("/sandbox/faults", json={"match": {"type": "profile"}, "code": 520})
    record = {"identity": "a", "type": "profile", "profileData": {"Phone": "none"}}
    entry = client.post("/1/upload", json={"d": [record]}).json()["unprocessed"][0]
    assert (entry["code"], entry["record"]) == (520, record)


@pytest.mark.parametrize("status", [204, 304])
def test_http_fault_without_a_body_keeps_the_connection(client: httpx.Client, status: int) -> None:
    """Such a status has no body, and the connection serves the next request."""
    client.post("/sandbox/faults", json={"status": status, "times": 1})
    assert client.post("/1/upload", json=events(1)).content == b""
    assert client.post("/1/upload", json=events(1)).json()["processed"] == 1


def test_unknown_path_or_method_has_the_vendors_response(client: httpx.Client) -> None:
    """The vendor responds, not the framework."""
    assert client.get("/1/upload").json()["code"] == 405
    assert client.get("/1/nothing.json").json()["code"] == 404
    assert "description" in client.get("/track/v2/nothing").json()["errors"]


def test_settings_close_connections_and_limit_bodies() -> None:
    """The recorded server closes each connection; a body limit provokes 413."""
    with running(SandboxSettings(close_connections=True, max_body_bytes=500)) as sandbox:
        url = f"{sandbox.url}/1/upload"
        answer = httpx.post(url, json=events(1), headers=ACCOUNT, timeout=60)
        assert answer.headers["connection"].lower() == "close"
        large = httpx.post(url, json=events(*range(9)), headers=ACCOUNT, timeout=60)
        assert large.status_code == 413


def exported(client: httpx.Client, cursor: str) -> list[Any]:
    """The numbers of all events behind a cursor, sent back as it came."""
    numbers = []
    while cursor:
        page = client.get(f"/1/events.json?cursor={cursor}").json()
        assert page["status"] == "success"
        numbers += [record["event_props"]["n"] for record in page.get("records", [])]
        cursor = page.get("next_cursor", "")
    return numbers


def test_export_pages_by_cursor(client: httpx.Client) -> None:
    """The export is busy first, has every record once, and refuses a cursor encoded twice."""
    client.post("/1/upload", json=events(*range(10)))
    body = {"event_name": "productviewed", **DAYS}
    cursor = client.post("/1/events.json?batch_size=4", json=body).json()["cursor"]
    busy = client.get(f"/1/events.json?cursor={cursor}")
    assert busy.status_code == 200
    assert busy.json()["code"] == 2
    assert client.get(f"/1/events.json?cursor={quote(cursor)}").json() == {
        "status": "fail",
        "error": "Incorrect Usage",
        "code": 3,
    }
    assert exported(client, cursor) == list(range(10))
    client.delete("/sandbox/cursors")
    assert client.get(f"/1/events.json?cursor={cursor}").json()["code"] == "CURSOR_INVALIDATED"


def test_export_empty_or_not_allowed(client: httpx.Client) -> None:
    """An empty export succeeds without records; notification events are refused."""
    query = '{"event_name":"Never","from":20200101,"to":20200102}'
    cursor = client.get("/1/events.json", params={"query": query}).json()["cursor"]
    client.get(f"/1/events.json?cursor={cursor}")
    page = client.get(f"/1/events.json?cursor={cursor}")
    assert page.text == '{ "status" : "success"}'
    refused = client.post("/1/events.json", json={"event_name": "Notification Sent", **DAYS})
    assert refused.status_code == 400
    assert refused.json()["error"] == "Export not allowed for this event"


def test_count_polls_by_request_id(client: httpx.Client) -> None:
    """A count is partial first; conditions apply; a forgotten id is unknown."""
    client.post("/1/upload", json=events(*range(10)))
    above = [{"name": "Price", "operator": "greater_than", "value": 6}]
    body = {"event_name": "Product viewed", "event_properties": above, **DAYS}
    partial = client.post("/1/counts/events.json", json=body).json()
    assert partial["status"] == "partial"
    poll = f"/1/counts/events.json?req_id={partial['req_id']}"
    assert client.get(poll).json() == {"status": "success", "count": 3}
    client.delete("/sandbox/cursors")
    forgotten = client.get(poll)
    assert forgotten.status_code == 400
    assert forgotten.json()["error"] == "invalid request id"


def test_removed_events_are_not_counted(client: httpx.Client) -> None:
    """Removed events are missing from the counts, so that a reconciliation can find it."""
    client.post("/1/upload", json=events(*range(10)))
    client.post("/1/upload", json=events(*range(3), name="Signed up"))
    removed = client.delete("/sandbox/records", params={"evtName": "product viewed", "count": 7})
    assert removed.json() == {"removed": 7}
    days = ledger(client)["events"]
    assert {name: sum(counts.values()) for name, counts in days.items()} == {
        "Product viewed": 3,
        "Signed up": 3,
    }
    lines = client.get("/sandbox/records", params={"kind": "event", "limit": 2, "offset": 2})
    assert [line.split('"n":')[1][0] for line in lines.text.splitlines()] == ["9", "0"]


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
    assert ledger(client)["records"] == {"event": 1}


def test_faults_accept_the_documented_curl_commands(client: httpx.Client) -> None:
    """`curl -d` labels JSON as a form, and it works all the same."""
    page = (ROOT / "docs" / "sandbox.md").read_text()
    typed = re.findall(r"curl -X POST \S+/sandbox/faults[ \\\n]+-d '(.*)'", page)
    assert len(typed) == 3
    for body in typed:
        headers = {"content-type": "application/x-www-form-urlencoded"}
        answer = client.post("/sandbox/faults", content=body, headers=headers)
        assert answer.status_code == 201, answer.text
    assert len(client.get("/sandbox/faults").json()) == 3


def test_record_fault_refuses_the_described_record(client: httpx.Client) -> None:
    """Only that record is refused, and only as often as requested."""
    rule = {"match": {"evtName": "Product viewed", "evtData.n": 2}, "code": 555, "times": 1}
    client.post("/sandbox/faults", json=rule).raise_for_status()
    (refused,) = client.post("/1/upload", json=events(1, 2, 3)).json()["unprocessed"]
    assert refused["code"] == 555
    assert refused["error"] == "Miscellaneous server error. Skipped record number : 2"
    assert client.post("/1/upload", json=events(2)).json()["status"] == "success"


def test_bloomreach_batch_has_a_result_per_command(client: httpx.Client) -> None:
    """Results come in order with their command_id, and the batch itself succeeds."""
    event = {"customer_ids": {"registered": "jane"}, "event_type": "purchase", "properties": {}}
    commands = [
        {"name": "customers/events", "command_id": "a", "data": event},
        {"name": "customers/events", "command_id": "b", "data": {**event, "customer_ids": {}}},
        {"name": "customers/events", "data": {**event, "event_type": "internal_audit"}},
        {"name": "customers", "command_id": "d", "data": {**event, "properties": {"x": 1}}},
        {"name": "system/time", "command_id": "e"},
    ]
    reported = client.post(f"{PROJECT}/batch", json={"commands": commands}).json()
    assert reported["success"] is True
    *judged, time = reported["results"]
    assert judged == [
        {"success": True, "command_id": "a"},
        {
            "success": False,
            "errors": ["At least one id should be specified."],
            "command_id": "b",
        },
        {
            "success": False,
            "errors": {"_global": ["Not authorized to add event of specified type"]},
        },
        {"success": True, "command_id": "d"},
    ]
    assert time["command_id"] == "e"
    assert isinstance(time["time"], float)
    assert ledger(client, "bloomreach")["records"] == {"event": 1, "profile": 1}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"nonsense", "Invalid JSON"),
        (b'{"commands": [{}, 5]}', "Invalid JSON"),
        (b'{"commands": []}', "No commands"),
        (b"{}", "No commands"),
        (b'{"commands": [' + b"{}," * 50 + b"{}]}", "Too many commands, the limit is 50"),
    ],
)
def test_bloomreach_malformed_batch_is_refused_whole(
    client: httpx.Client, body: bytes, message: str
) -> None:
    """An invalid command, no command or more than 50: nothing is accepted."""
    answer = client.post(f"{PROJECT}/batch", content=body)
    assert answer.status_code == 400
    assert answer.json() == {"success": False, "message": message}


@pytest.mark.parametrize(
    ("path", "authorization", "status", "error"),
    [
        (PROJECT, "", 401, "Access key not provided"),
        (PROJECT, "Basic " + base64.b64encode(b"else:s").decode(), 401, "access key not found"),
        (PROJECT, "Basic " + base64.b64encode(b"sandbox-key:s").decode(), 403, "invalid secret"),
        (PROJECT, "Token else", 400, "Could not authenticate"),
        ("/track/v2/projects/else", KEY["Authorization"], 400, "Invalid project id"),
    ],
)
def test_bloomreach_wrong_credentials_are_refused(
    client: httpx.Client, path: str, authorization: str, status: int, error: str
) -> None:
    """Each wrong credential has its status and text."""
    answer = client.get(f"{path}/system/time", headers={"Authorization": authorization})
    assert (answer.status_code, answer.json()) == (status, {"success": False, "error": error})


def test_bloomreach_single_call_reports_errors_with_200(client: httpx.Client) -> None:
    """Public tokens work too; errors are a text, a list or an object."""
    public = {"Authorization": "Token sandbox-public-token"}
    event = {"customer_ids": {"registered": "jane"}, "event_type": "purchase"}
    path = f"{PROJECT}/customers/events"
    reported = client.post(path, json=event, headers=public).json()
    assert reported == {"errors": [], "success": True}
    answer = client.post(path, json={**event, "event_type": ""})
    assert answer.status_code == 200
    assert answer.json() == {"success": False, "errors": "Field event_type is required"}
    assert client.get(f"{PROJECT}/system/time").json()["success"] is True


def test_bloomreach_requests_above_the_rate_are_refused() -> None:
    """Requests above the rate get 429, and their records are not kept."""
    with (
        running(SandboxSettings(bloomreach_requests_per_s=2)) as sandbox,
        httpx.Client(base_url=sandbox.url, headers=KEY, timeout=60) as client,
    ):
        statuses = [client.get(f"{PROJECT}/system/time").status_code for _ in range(10)]
    assert statuses[:2] == [200, 200]
    assert 429 in statuses


def test_page_escapes_record_content(client: httpx.Client) -> None:
    """No tag of a record's content reaches the page, and no script runs."""
    client.post("/1/upload", json=events(1, name="<script>alert(1)</script>"))
    client.post("/sandbox/faults", json={"kind": "nonsense", "path": "<b>bold</b>"})
    page = client.get("/")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "<script" not in page.text
    assert "<b>" not in page.text
    assert "&lt;script&gt;" in page.text
    assert "not the vendors" in page.text


def test_page_buttons_set_faults(client: httpx.Client) -> None:
    """A form sets a fault and returns to the page; other sites are refused."""
    form = {"rule": '{"kind": "http", "status": 503, "times": 1}'}
    assert client.post("/sandbox/faults", data=form).headers["location"] == "/"
    assert client.post("/1/upload", json=events(1)).status_code == 503
    foreign = {"Origin": "http://elsewhere.example"}
    assert client.post("/sandbox/faults", data=form, headers=foreign).status_code == 403
    client.post("/sandbox/faults", data={"clear": "all"})
    assert client.get("/sandbox/faults").json() == []


def test_admin_api_reports_and_resets(client: httpx.Client) -> None:
    """It reports health and masked settings, explains refusals, and forgets everything."""
    assert client.get("/healthz").json()["status"] == "ok"
    assert client.get("/sandbox/settings").json()["passcode"] == "***"
    refused = client.post("/sandbox/faults", json={"kind": "earthquake"})
    assert (refused.status_code, "kind must be one of" in refused.text) == (400, True)
    assert client.delete("/sandbox/records").status_code == 400
    client.post("/1/upload", json=events(1))
    client.post("/sandbox/reset")
    assert ledger(client)["records"] == {}


def test_sample_upload_refuses_only_faulty_records(client: httpx.Client) -> None:
    """Every faulty record of the sample is refused, no other one, and none comes twice."""
    records = list(sample(2000, 200))
    refused = 0
    for first in range(0, len(records), 1000):
        body = {"d": records[first : first + 1000]}
        refused += len(client.post("/1/upload", json=body).json()["unprocessed"])
    assert refused == expected_refusals(2000, 200) == 22
    assert ledger(client)["duplicates"] == 0


def test_serve_announces_itself_and_stops_on_ctrl_c() -> None:
    """It announces a development tool, serves, and ends cleanly."""
    command = [sys.executable, "-c", "from worker.sandbox.server import serve; serve(port=0)"]
    env = environment({"INGEST_SANDBOX_PASSCODE": "given"})
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as served:
        assert served.stderr is not None
        guard = threading.Timer(120, served.kill)
        guard.start()
        try:
            line = served.stderr.readline()
            assert "a development tool, not the vendors" in line
            address = next(word for word in line.split() if word.startswith("http"))
            headers = ACCOUNT | {"X-CleverTap-Passcode": "given"}
            url = f"{address}/1/upload"
            answer = httpx.post(url, json=events(1), headers=headers, timeout=60)
            assert answer.status_code == 200
            served.send_signal(signal.SIGINT)
            assert served.wait(60) == 0
            assert "Traceback" not in served.stderr.read()
        finally:
            guard.cancel()
            served.kill()
