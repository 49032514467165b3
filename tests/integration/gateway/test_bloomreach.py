"""Bloomreach's API at the gateway, with a real Redis."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import orjson
import pytest

from support.gateway import (
    PROJECT,
    GatewayResponse,
    LocalGateway,
    LocalGatewayFactory,
    request_app,
    tracked,
)

CUSTOMER = {"customer_ids": {"registered": "42"}, "properties": {"name": "A"}}
WITHOUT_IDS = tracked(customer_ids={})


def command(name: str, data: Any, command_id: Any = None) -> dict[str, Any]:
    """One of a batch's commands."""
    made = {"name": name, "data": data}
    return made if command_id is None else {**made, "command_id": command_id}


def test_single_calls_with_valid_records_succeed_and_enqueue(gateway: LocalGateway) -> None:
    """Each single call is answered as the vendor does, after its record is in Redis."""

    async def talk(gateway: LocalGateway) -> list[GatewayResponse]:
        return [
            await gateway.track("customers/events", tracked()),
            await gateway.track("customers", CUSTOMER),
        ]

    for answer in gateway.run(talk):
        assert (answer.status, answer.json()) == (200, {"errors": [], "success": True})
    (event,) = gateway.buffered("event", "bloomreach")
    (customer,) = gateway.buffered("profile", "bloomreach")
    assert event["event_type"] == "viewed"
    assert customer["properties"] == {"name": "A"}
    assert abs(event["timestamp"] - time.time()) < 60


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("customers/events", WITHOUT_IDS),
        ("customers/events", {**tracked(), "event_type": None}),
        ("customers/events", CUSTOMER),
        ("customers/events", tracked(timestamp=1_700_000_000_000)),
        ("customers", tracked()),
        ("customers", {**CUSTOMER, "properties": []}),
        ("customers", {}),
    ],
)
def test_single_call_with_an_invalid_record_reports_the_rules_and_enqueues_nothing(
    gateway: LocalGateway, name: str, record: dict[str, Any]
) -> None:
    """HTTP 200 with success false and the rules; a record of another call is rejected too."""
    answer = gateway.run(lambda gateway: gateway.track(name, record))
    payload = answer.json()
    assert (answer.status, payload["success"]) == (200, False)
    assert payload["errors"]
    assert all(isinstance(each, str) for each in payload["errors"])
    assert gateway.buffered("event", "bloomreach") + gateway.buffered("profile", "bloomreach") == []


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        ({}, "At least one id should be specified. customer_ids: "),
        ({"registered": "undefined"}, "At least one valid id should be specified. customer_ids: "),
    ],
)
def test_single_call_without_a_valid_id_answers_the_vendors_text_first(
    gateway: LocalGateway, ids: dict[str, str], words: str
) -> None:
    """Clients that look for the documented texts find them; the field's name follows."""
    record = tracked(customer_ids=ids)
    answer = gateway.run(lambda gateway: gateway.track("customers/events", record))
    (text,) = answer.json()["errors"]
    assert text.startswith(words)


def test_batch_with_an_integer_beyond_64_bits_rejects_the_record_and_echoes_the_id(
    gateway: LocalGateway,
) -> None:
    """In a record it breaks a rule; as a command's id it comes back to the digit."""
    beyond = 12345678901234567890123
    bad = command("customers", {**CUSTOMER, "properties": {"n": beyond}}, "a")
    good = command("customers", CUSTOMER, beyond)

    body = json.dumps({"commands": [bad, good]}).encode()
    answer = gateway.run(lambda gateway: gateway.track("batch", body))
    rejected, taken = json.loads(answer.body)["results"]
    assert rejected["errors"] == ["properties.n: must be an integer of at most 64 bits"]
    assert (taken["success"], taken["command_id"]) == (True, beyond)
    assert len(gateway.buffered("profile", "bloomreach")) == 1


def test_batch_of_valid_and_invalid_commands_answers_each_in_order_with_its_id(
    gateway: LocalGateway,
) -> None:
    """Each command has a result with its id, and rejected ones do not affect the others."""
    commands = [
        command("customers/events", tracked("1"), "a"),
        command("customers/events", WITHOUT_IDS, "b"),
        command("system/time", None, 7),
        command("customers", CUSTOMER),
        command("unknown", {}, "d"),
        command("customers", None, "e"),
        {"command_id": "f"},
    ]

    answer = gateway.run(lambda gateway: gateway.track("batch", {"commands": commands, "sdk": "x"}))
    payload = answer.json()
    results = payload["results"]
    assert (answer.status, payload["success"]) == (200, True)
    assert [each["success"] for each in results] == [True, False, True, True, False, False, False]
    assert [each.get("command_id") for each in results] == ["a", "b", 7, None, "d", "e", "f"]
    assert abs(results[2]["time"] - time.time()) < 60
    assert payload["start_time"] <= payload["end_time"]
    assert len(gateway.buffered("event", "bloomreach")) == 1
    assert len(gateway.buffered("profile", "bloomreach")) == 1


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "Invalid JSON"),
        (b"[]", "Invalid JSON"),
        (b"{}", "No commands"),
        (b'{"commands":[]}', "No commands"),
        (b'{"commands":5}', "Invalid JSON"),
        (b'{"commands":[{},5]}', "Invalid JSON"),
        (
            orjson.dumps({"commands": [command("customers", CUSTOMER)] * 51}),
            "Too many commands, the limit is 50",
        ),
    ],
)
def test_batch_that_is_malformed_answers_400_and_enqueues_nothing(
    gateway: LocalGateway, body: bytes, text: str
) -> None:
    """The answer is 400 in the vendor's words, and nothing is enqueued."""
    answer = gateway.run(lambda gateway: gateway.track("batch", body))
    assert (answer.status, answer.json()) == (400, {"success": False, "message": text})
    assert gateway.buffered("profile", "bloomreach") == []


def test_batch_of_fifty_commands_is_accepted(gateway: LocalGateway) -> None:
    """The vendor's limit is ours: 50 commands are accepted."""
    commands = [command("customers/events", tracked(str(n)), n) for n in range(50)]

    answer = gateway.run(lambda gateway: gateway.track("batch", {"commands": commands}))
    results = answer.json()["results"]
    assert [(each["success"], each["command_id"]) for each in results] == [
        (True, number) for number in range(50)
    ]
    assert len(gateway.buffered("event", "bloomreach")) == 50


def basic(public: str, secret: str) -> str:
    """An Authorization header of the private kind."""
    return "Basic " + base64.b64encode(f"{public}:{secret}".encode()).decode()


def test_authorization_in_each_supported_form_is_accepted(gateway: LocalGateway) -> None:
    """The key is Basic's secret, Basic's only word, a Token, or a bearer token."""

    async def talk(gateway: LocalGateway) -> list[int]:
        authorization = (
            basic("any-id", gateway.key),
            basic(gateway.key, ""),
            f"Token {gateway.key}",
            f"token {gateway.key}",
            f"Bearer {gateway.key}",
        )
        asked = [
            await gateway.track("system/time", b"", "GET", Authorization=each)
            for each in authorization
        ]
        return [each.status for each in asked]

    assert gateway.run(talk) == [200] * 5


@pytest.mark.parametrize(
    ("authorization", "text"),
    [
        ("", "Access key not provided"),
        ("Basic", "Access key not provided"),
        ("Basic !!!", "Access key not provided"),
        (basic("", ""), "Access key not provided"),
        ("Basic " + base64.b64encode(b"\xff:\xff").decode(), "Access key not provided"),
        ("Digest x", "Access key not provided"),
        ("Token wrong", "access key not found"),
        (basic("id", "wrong"), "access key not found"),
    ],
)
def test_authorization_without_a_known_key_answers_401(
    gateway: LocalGateway, authorization: str, text: str
) -> None:
    """The answer is 401 in the vendor's words."""
    answer = gateway.run(
        lambda gateway: gateway.track("customers", CUSTOMER, Authorization=authorization)
    )
    assert (answer.status, answer.json()) == (401, {"success": False, "error": text})
    assert gateway.buffered("profile", "bloomreach") == []


def test_project_other_than_the_configured_one_answers_400(
    gateway_factory: LocalGatewayFactory,
) -> None:
    """Where the project's token is configured, another one is a mistake."""
    gateway = gateway_factory(BLOOMREACH_PROJECT_TOKEN="tok-1", BLOOMREACH_API_KEY_ID="id")

    async def talk(gateway: LocalGateway) -> list[int]:
        headers = {"Authorization": f"Token {gateway.key}"}
        path = PROJECT.replace("bloomreach", "{}") + "/system/time"
        asked = [
            await request_app(gateway.app, "GET", path.format(token), headers=headers)
            for token in ("tok-1", "bloomreach", "tok-2")
        ]
        return [each.status for each in asked]

    assert gateway.run(talk) == [200, 200, 400]


def test_vendor_credentials_are_accepted_only_when_allowed(
    gateway_factory: LocalGatewayFactory,
) -> None:
    """An unchanged client's own API key works only where the operator allows it."""
    own = {
        "BLOOMREACH_PROJECT_TOKEN": "bloomreach",
        "BLOOMREACH_API_KEY_ID": "id",
        "BLOOMREACH_API_SECRET": "own-secret",
    }

    async def talk(gateway: LocalGateway) -> list[int]:
        authorization = (
            basic("id", "own-secret"),
            basic("other", "own-secret"),
            "Token own-secret",
        )
        asked = [
            await gateway.track("system/time", b"", "GET", Authorization=each)
            for each in authorization
        ]
        return [each.status for each in asked]

    assert gateway_factory(**own).run(talk) == [401, 401, 401]
    allowed = gateway_factory(**own, INGEST_GATEWAY_ACCEPT_VENDOR_CREDENTIALS="1")
    assert allowed.run(talk) == [200, 401, 401]
