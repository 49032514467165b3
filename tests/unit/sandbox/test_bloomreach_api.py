"""Bloomreach's part of the sandbox, by requests that reach the app without a server."""

from __future__ import annotations

import base64

import httpx
import pytest

from support.in_process import client_of
from support.sandbox import KEY, PROJECT, reported
from worker.sandbox.server import create_app
from worker.sandbox.settings import SandboxSettings


def test_bloomreach_key_that_is_not_base64_is_unknown(client: httpx.Client) -> None:
    """Bytes that base64 cannot contain are an unknown key."""
    answer = client.post(f"{PROJECT}/batch", headers={b"Authorization": b"Basic \xff"}, json={})
    assert (answer.status_code, answer.json()["error"]) == (401, "access key not found")


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
    body = client.post(f"{PROJECT}/batch", json={"commands": commands}).json()
    assert body["success"] is True
    *judged, time = body["results"]
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
    assert reported(client, "bloomreach")["records"] == {"event": 1, "profile": 1}


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
    body = client.post(path, json=event, headers=public).json()
    assert body == {"errors": [], "success": True}
    answer = client.post(path, json={**event, "event_type": ""})
    assert answer.status_code == 200
    assert answer.json() == {"success": False, "errors": "Field event_type is required"}
    assert client.get(f"{PROJECT}/system/time").json()["success"] is True


def test_bloomreach_requests_above_the_rate_are_refused() -> None:
    """Requests above the rate get 429, and their records are not kept."""
    app = create_app(SandboxSettings(bloomreach_requests_per_s=2))
    with client_of(app, KEY) as client:
        statuses = [client.get(f"{PROJECT}/system/time").status_code for _ in range(10)]
    assert statuses[:2] == [200, 200]
    assert 429 in statuses
