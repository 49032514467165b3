"""The gateway answers any request 2xx or 4xx, and what it reports as processed is in Redis."""

from __future__ import annotations

import base64
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import orjson
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from support.gateway import (
    PROJECT,
    GatewayProcessFactory,
    GatewayResponse,
    LocalGateway,
    event,
    profile,
    request_app,
    tracked,
)

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
MALFORMED = 1_000
MUTATED = 10_000
# What breaks parsers: numbers at their limits, lone surrogates, controls, names of JavaScript's.
STRANGE: list[bytes] = [
    b"null",
    b"true",
    b"-0",
    b"1e400",
    b"1e-400",
    b"9" * 400,
    b"18446744073709551616",
    b"-9223372036854775809",
    b"NaN",
    b'"\\ud800"',
    b'"\\u0000"',
    b'"' + b"x" * 5000 + b'"',
    b'"\xf0\x9f\x98\x80"',
    b"[]",
    b"{}",
    b"[" * 30 + b"]" * 30,
    b"[" * 300 + b"]" * 300,
    b'{"__proto__":{}}',
    b'{"d":1,"d":2}',
    b'{"$add":["a"]}',
    b'{"":""}',
]
UPLOADS: list[Any] = [
    {"d": [event()]},
    {"d": [event("1"), profile("2"), event(evtName="")]},
    {"d": [event("1", ts=1_700_000_000, evtData={"Price": 59.99, "When": "$D_1700000000"})]},
    {"d": [{"type": "token", "objectId": "o", "tokenData": {"id": "a", "type": "fcm"}}]},
    {"d": [event(evtName="Charged", evtData={"Items": [{"n": 1}, {"n": 2}]}), profile()]},
    {"d": [profile("1", Phone="+14155551234", Tags={"$add": ["a", "b"]}, Age=3)]},
]
TRACKED: list[tuple[str, Any]] = [
    ("customers/events", tracked()),
    ("customers", {"customer_ids": {"cookie": ["a", "b"]}, "properties": {"n": [1, {"m": 2}]}}),
    (
        "batch",
        {
            "commands": [
                {"name": "customers/events", "command_id": "a", "data": tracked()},
                {"name": "system/time"},
                {"name": "customers", "data": {}},
            ]
        },
    ),
]


def mutated(rng: random.Random, body: bytes) -> bytes:
    """A body with one to three things wrong in it, or, with luck, nothing."""
    for _ in range(rng.randint(1, 3)):
        body = rng.choice(MUTATIONS)(rng, body)
    return body


def _replace_a_value(rng: random.Random, body: bytes) -> bytes:
    """A strange value in place of what stands between two punctuation marks."""
    marks = [at for at, each in enumerate(body) if each in b":[,"]
    if not marks:
        return body
    begin = rng.choice(marks) + 1
    ends = [at for at in range(begin, len(body)) if body[at] in b",]}"]
    return body[:begin] + rng.choice(STRANGE) + body[ends[0] if ends else begin :]


def _insert(rng: random.Random, body: bytes) -> bytes:
    at = rng.randint(0, len(body))
    return body[:at] + rng.choice(STRANGE) + body[at:]


def _flip(rng: random.Random, body: bytes) -> bytes:
    changed = bytearray(body)
    for _ in range(rng.randint(1, 4)):
        if changed:
            changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _cut(rng: random.Random, body: bytes) -> bytes:
    first, last = sorted((rng.randint(0, len(body)), rng.randint(0, len(body))))
    return body[:first] + body[last:]


def _repeat(rng: random.Random, body: bytes) -> bytes:
    first, last = sorted((rng.randint(0, len(body)), rng.randint(0, len(body))))
    return body[:last] + body[first:last] * rng.randint(1, 3) + body[last:]


MUTATIONS: list[Callable[[random.Random, bytes], bytes]] = [
    _replace_a_value,
    _replace_a_value,
    _replace_a_value,
    _insert,
    _flip,
    _cut,
    _repeat,
]


def in_redis(gateway: LocalGateway) -> int:
    """How many records of any kind and destination are in Redis; they are removed."""
    found = [gateway.client.llen(name) for name in gateway.client.keys("ingest:*:pending:*")]
    for pattern in ("ingest:*:pending:*", "ingest:*:state"):
        if names := gateway.client.keys(pattern):
            gateway.client.delete(*names)
    return sum(found)


def said_to_be_taken(answer: GatewayResponse) -> int:
    """How many records an answer says are in Redis."""
    payload = orjson.loads(answer.body or b"{}")
    if "results" in payload:
        return sum(each["success"] and "time" not in each for each in payload["results"])
    if "success" in payload:
        return int(payload["success"] and "time" not in payload)
    return int(payload.get("processed", 0))


@pytest.mark.timeout(300)
def test_mutated_bodies_never_fail_and_report_what_is_enqueued(
    gateway: LocalGateway, rng: random.Random
) -> None:
    """Ten thousand bodies cause no 5xx, and the reported numbers are the numbers in Redis."""

    async def talk(gateway: LocalGateway) -> None:
        headers = {"Authorization": f"Bearer {gateway.key}", "X-CleverTap-Account-Id": "A"}
        taken, seen = 0, Counter[str]()
        for number in range(MUTATED):
            if number % 3:
                target, value = "/1/upload", rng.choice(UPLOADS)
            else:
                name, value = rng.choice(TRACKED)
                target = f"{PROJECT}/{name}"
            body = mutated(rng, orjson.dumps(value))
            answer = await request_app(gateway.app, "POST", target, headers=headers, body=body)
            assert answer.status in {200, 400}, (answer, body)
            said = said_to_be_taken(answer)
            seen["taken" if said else "rejected" if answer.status == 200 else "malformed"] += 1
            taken += said
            if number % 500 == 499:
                assert in_redis(gateway) == taken
                taken = 0
        assert min(seen[each] for each in ("taken", "rejected", "malformed")) > MUTATED // 50

    gateway.run(talk)


def malformed(rng: random.Random, key: str) -> dict[str, Any]:
    """A request with something wrong in its method, target, headers or body."""
    good = orjson.dumps(rng.choice(UPLOADS))
    headers = {"X-CleverTap-Account-Id": "A", "X-CleverTap-Passcode": key}
    request = {"method": "POST", "target": "/1/upload", "headers": headers, "body": good}
    junk = bytes(rng.randrange(256) for _ in range(rng.randint(0, 40)))
    text = junk.decode("latin-1")
    wrongs: list[dict[str, Any]] = [
        {"method": rng.choice(["GET", "PUT", "DELETE", "PATCH", "HEAD", "BREW", ""])},
        {"target": f"/{text}"},
        {"target": f"/1/upload?dryRun={text or 'x'}&{'a=1&' * rng.randint(0, 2000)}"},
        {"target": f"/track/v2/projects/{text}/batch"},
        {"target": f"/track/v2/projects/x/{text}"},
        {"headers": {"X-CleverTap-Account-Id": text, "X-CleverTap-Passcode": text}},
        {"headers": {"Authorization": f"Bearer {text}"}},
        {"headers": {"Authorization": text}},
        {"headers": {**headers, "Content-Encoding": rng.choice(["gzip", text, "br"])}},
        {"headers": {**headers, "Content-Length": rng.choice(["-1", "9" * 30, text])}},
        {"headers": {**headers, "Idempotency-Key": text}},
        {
            "target": f"{PROJECT}/customers",
            "headers": {"Authorization": "Basic " + base64.b64encode(junk).decode()},
        },
        {"body": junk},
        {"body": [good[:5], junk, good[5:]]},
    ]
    return {**request, **rng.choice(wrongs)}


def test_malformed_requests_answer_4xx_and_enqueue_only_what_they_report(
    gateway: LocalGateway, rng: random.Random
) -> None:
    """A thousand malformed requests answer 4xx, or 200 with the number that is enqueued."""

    async def talk(gateway: LocalGateway) -> None:
        for _ in range(MALFORMED):
            request = malformed(rng, gateway.key)
            method, target = request.pop("method"), request.pop("target")
            answer = await request_app(gateway.app, method, target, **request)
            assert 200 <= answer.status < 500, (method, target, request, answer)
            assert in_redis(gateway) == said_to_be_taken(answer), (method, target, request, answer)

    gateway.run(talk)


def drawn_from(operation: Any, mode: GenerationMode, number: int, key: str) -> None:
    """Send requests drawn for one operation, and hold the answers against the document."""
    headers = {"Authorization": f"Bearer {key}"}

    @seed(number)
    @settings(
        max_examples=15,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        case.call_and_validate(headers=headers, checks=CHECKS)

    check()


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_responses_conform_to_the_openapi_document(
    start_gateway: GatewayProcessFactory,
    gateway: LocalGateway,
    rng: random.Random,
    mode: GenerationMode,
) -> None:
    """Valid and invalid requests drawn from /openapi.json get documented statuses and shapes."""
    process = start_gateway(gateway.environ["REDIS_URL"], INGEST_GATEWAY_READY_TICK_S="0")
    schema = schemathesis.openapi.from_url(f"{process.url}/openapi.json")
    number = rng.randrange(2**32)
    drawn = 0
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        if mode is GenerationMode.NEGATIVE and not list(operation.body):
            continue  # nothing to be wrong in
        drawn_from(operation, mode, number, gateway.key)
        drawn += 1
    assert drawn >= 4
