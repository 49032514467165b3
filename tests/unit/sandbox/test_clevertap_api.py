"""CleverTap's part of the sandbox, by requests that reach the app without a server."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx

from support.sandbox import DAYS, events, reported
from worker.sandbox.sample_traffic import sample


def test_upload_is_counted_in_the_reported(client: httpx.Client) -> None:
    """The response has the recorded bytes, and the ledger counts what was accepted and refused."""
    answer = client.post("/1/upload", json=events(1, 2))
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json;charset=utf-8"
    assert answer.text == '{ "status" : "success" , "processed" : 2 , "unprocessed" : [ ]}'
    answer = client.post("/1/upload", json={"d": [*events(3)["d"], *events(4, name="Stayed")["d"]]})
    assert answer.json()["status"] == "partial"
    counts = reported(client)
    assert counts["records"] == {"event": 3}
    assert counts["refused"] == {"513": 1}
    assert counts["requests"] == {"200": 2}


def test_upload_of_mixed_kinds_is_counted_by_kind(client: httpx.Client) -> None:
    """Events, profiles and tokens may share a request."""
    profile = {"identity": "a", "type": "profile", "profileData": {"Name": "Ada"}}
    token = {"type": "token", "objectId": "x1", "tokenData": {"id": "t", "type": "fcm"}}
    body = {"d": [*events(1)["d"], profile, token]}
    assert client.post("/1/upload", json=body).json()["processed"] == 3
    assert reported(client)["records"] == {"event": 1, "profile": 1, "token": 1}


def test_upload_dry_run_is_counted_apart(client: httpx.Client) -> None:
    """dryRun=1 validates and stores nothing; dryRun=0 is a real upload."""
    answer = client.post("/1/upload?dryRun=1", json=events(1, name="Stayed"))
    assert answer.json()["unprocessed"][0]["code"] == 513
    client.post("/1/upload?dryRun=1", json=events(1))
    counts = reported(client)
    assert (counts["records"], counts["refused"], counts["dry_run"]) == ({}, {}, 2)
    client.post("/1/upload?dryRun=0", json=events(1))
    assert reported(client)["records"] == {"event": 1}


def test_sample_upload_refuses_only_faulty_records(client: httpx.Client) -> None:
    """Every faulty record of the sample is refused, no other one, and none comes twice."""
    records = list(sample(2000, 200))
    refused = 0
    for first in range(0, len(records), 1000):
        body = {"d": records[first : first + 1000]}
        refused += len(client.post("/1/upload", json=body).json()["unprocessed"])
    assert refused == 22  # one in each full hundred of a kind
    assert reported(client)["duplicates"] == 0


def test_record_fault_applies_to_an_invalid_record(client: httpx.Client) -> None:
    """A fault may refuse a record with any code, whatever else is wrong with it."""
    client.post("/sandbox/faults", json={"match": {"type": "profile"}, "code": 520})
    record = {"identity": "a", "type": "profile", "profileData": {"Phone": "none"}}
    entry = client.post("/1/upload", json={"d": [record]}).json()["unprocessed"][0]
    assert (entry["code"], entry["record"]) == (520, record)


def test_record_fault_refuses_the_described_record(client: httpx.Client) -> None:
    """Only that record is refused, and only as often as requested."""
    rule = {"match": {"evtName": "Product viewed", "evtData.n": 2}, "code": 555, "times": 1}
    client.post("/sandbox/faults", json=rule).raise_for_status()
    (refused,) = client.post("/1/upload", json=events(1, 2, 3)).json()["unprocessed"]
    assert refused["code"] == 555
    assert refused["error"] == "Miscellaneous server error. Skipped record number : 2"
    assert client.post("/1/upload", json=events(2)).json()["status"] == "success"


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
