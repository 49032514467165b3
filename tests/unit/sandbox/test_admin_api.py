"""The sandbox's own API: ledger, records, faults, reset."""

from __future__ import annotations

import re

import httpx

from support.environment import ROOT
from support.sandbox import events, reported


def test_removed_events_are_not_counted(client: httpx.Client) -> None:
    """Removed events are missing from the counts, so that a reconciliation can find it."""
    client.post("/1/upload", json=events(*range(10)))
    client.post("/1/upload", json=events(*range(3), name="Signed up"))
    removed = client.delete("/sandbox/records", params={"evtName": "product viewed", "count": 7})
    assert removed.json() == {"removed": 7}
    days = reported(client)["events"]
    assert {name: sum(counts.values()) for name, counts in days.items()} == {
        "Product viewed": 3,
        "Signed up": 3,
    }
    lines = client.get("/sandbox/records", params={"kind": "event", "limit": 2, "offset": 2})
    assert [line.split('"n":')[1][0] for line in lines.text.splitlines()] == ["9", "0"]


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


def test_admin_api_reports_and_resets(client: httpx.Client) -> None:
    """It reports health and masked settings, explains refusals, and forgets everything."""
    assert client.get("/healthz").json()["status"] == "ok"
    assert client.get("/sandbox/settings").json()["passcode"] == "***"
    refused = client.post("/sandbox/faults", json={"kind": "earthquake"})
    assert (refused.status_code, "kind must be one of" in refused.text) == (400, True)
    assert client.delete("/sandbox/records").status_code == 400
    client.post("/1/upload", json=events(1))
    client.post("/sandbox/reset")
    assert reported(client)["records"] == {}
