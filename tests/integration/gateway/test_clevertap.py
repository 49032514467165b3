"""CleverTap's API at the gateway, with a real Redis."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from typing import Any

import orjson
import pytest
import redis
from starlette.types import Message

from support.gateway import (
    GatewayResponse,
    LocalGateway,
    LocalGatewayFactory,
    event,
    gather_all,
    profile,
    request_app,
)
from worker.buffer import keys
from worker.gateway.auth.api_keys import KeyTable

TOKEN = {
    "type": "token",
    "objectId": "o1",
    "tokenData": {"id": "abc", "type": "fcm"},
}


def test_upload_of_all_kinds_succeeds_and_enqueues_each(gateway: LocalGateway) -> None:
    """Records of all three kinds go in with one call, and the answer is the vendor's success."""
    answer = gateway.run(lambda gateway: gateway.upload(event(), profile(), TOKEN))
    assert (answer.status, answer.headers["content-type"]) == (
        200,
        "application/json;charset=utf-8",
    )
    assert answer.json() == {"status": "success", "processed": 3, "unprocessed": []}
    for kind in ("event", "profile", "token"):
        assert [each["type"] for each in gateway.buffered(kind)] == [kind]


BAD_NAME = event(evtName="")
BAD_PHONE = profile(Phone="12")


@pytest.mark.parametrize(
    ("records", "status", "codes"),
    [
        ([], "success", {}),
        ([event(), BAD_NAME, profile(), BAD_PHONE], "partial", {2: 509, 4: 516}),
        ([BAD_NAME], "fail", {1: 509}),
        ([event(evtName="App Launched")], "fail", {1: 513}),
        ([profile(Email="$$$$$")], "fail", {1: 515}),
        ([event(ts=0)], "fail", {1: 525}),
        ([event(identity="")], "fail", {1: 523}),
        ([{"identity": "1"}], "fail", {1: 524}),
        ([{**event(), "evtData": []}], "fail", {1: 512}),
        ([{**TOKEN, "tokenData": {"type": "fcm"}}], "fail", {1: 532}),
        (["no record", None, 5, []], "fail", {1: 524, 2: 524, 3: 524, 4: 524}),
    ],
)
def test_upload_with_invalid_records_reports_each_by_position_and_code(
    gateway: LocalGateway, records: list[Any], status: str, codes: dict[int, int]
) -> None:
    """HTTP 200; each rejected record comes back with its code, its position and itself."""
    answer = gateway.run(lambda gateway: gateway.upload(*records))
    payload = answer.json()
    assert (answer.status, payload["status"]) == (200, status)
    assert payload["processed"] == len(records) - len(codes)
    for (position, code), each in zip(codes.items(), payload["unprocessed"], strict=True):
        assert (each["status"], each["code"]) == ("fail", code)
        assert each["error"].endswith(f" Skipped record number : {position}")
        assert each["record"] == records[position - 1]
    taken = len(gateway.buffered("event")) + len(gateway.buffered("profile"))
    assert taken == payload["processed"]


def test_upload_with_an_integer_beyond_64_bits_rejects_it_and_echoes_it_exactly(
    gateway: LocalGateway,
) -> None:
    """It does not become a float: the record is reported, and the one beside it is accepted."""
    sent = event(evtData={"n": 12345678901234567890123})

    body = json.dumps({"d": [sent, event()]}).encode()
    payload = json.loads(gateway.run(lambda gateway: gateway.upload_bytes(body)).body)
    assert (payload["status"], payload["processed"]) == ("partial", 1)
    (rejected,) = payload["unprocessed"]
    assert rejected["error"].startswith("evtData.n: must be an integer of at most 64 bits")
    assert rejected["record"] == sent
    assert [each["evtData"] for each in gateway.buffered("event")] == [{}]


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (BAD_NAME, "Event Name is incorrect. ErrorCode: 509 - Event name is mandatory. evtName: "),
        (profile(Email="1234"), "Profile data is incorrect. Email is not valid. profileData.Email"),
        (event(ts=0), "Timestamp should be present in the Unix Epoch format. ts: "),
        (event(identity=""), "identity: "),
    ],
)
def test_upload_with_an_invalid_record_answers_the_vendors_text_first(
    gateway: LocalGateway, record: dict[str, Any], words: str
) -> None:
    """Clients that look for the recorded texts find them; the field's name follows."""
    (rejected,) = gateway.run(lambda gateway: gateway.upload(record)).json()["unprocessed"]
    assert rejected["error"].startswith(words)


def test_upload_breaking_a_rule_without_a_vendor_code_answers_512(gateway: LocalGateway) -> None:
    """`code` is a number in every answer, also for rules without a vendor code."""

    async def talk(gateway: LocalGateway) -> GatewayResponse:
        flag = profile(**{"MSG-email": "maybe"})
        return await gateway.upload(flag)

    assert gateway.run(talk).json()["unprocessed"][0]["code"] == 512


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "Malformed request"),
        (b"{", "Malformed request"),
        (b"\xff", "Malformed request"),
        (b'"d"', "Malformed request: needs an array d of records"),
        (b"{}", "Malformed request: needs an array d of records"),
        (b'{"d":{}}', "Malformed request: needs an array d of records"),
        (b'{"d":' + b"[" * 40 + b"]" * 40 + b"}", "Malformed request"),
        (b'{"d":' + b"[" * 5000 + b"]" * 5000 + b"}", "Malformed request"),
        (
            orjson.dumps({"d": [event()] * 1001}),
            "Malformed request: d holds more than 1000 records",
        ),
    ],
    ids=["empty", "half", "no text", "string", "no d", "d no array", "deep", "abyss", "1001"],
)
def test_upload_that_is_malformed_answers_400_and_enqueues_nothing(
    gateway: LocalGateway, body: bytes, text: str
) -> None:
    """The answer is the vendor's 400, and nothing of it is enqueued."""
    answer = gateway.run(lambda gateway: gateway.upload_bytes(body))
    assert answer.status == 400
    assert answer.json() == {"status": "fail", "error": text, "code": 400}
    assert gateway.buffered() == []


def test_upload_of_a_thousand_records_is_accepted_in_order(gateway: LocalGateway) -> None:
    """The vendor's limit is ours: 1000 records are accepted."""
    records = [event(str(number)) for number in range(1000)]
    answer = gateway.run(lambda gateway: gateway.upload(*records))
    assert answer.json()["processed"] == 1000
    assert [each["identity"] for each in gateway.buffered()] == [str(n) for n in range(1000)]


@pytest.mark.parametrize(
    ("query", "status", "enqueued"),
    [
        ("?dryRun=1", 200, 0),
        ("?dryRun=true", 200, 0),
        ("?dryRun=0", 200, 1),
        ("?dryrun=1", 200, 0),
        ("?dryRun=True", 200, 0),
        ("?dryRun=1&dryRun=true", 200, 0),
        ("?dryRun=1&dryRun=0", 400, 0),
        ("?dryRun", 400, 0),
        ("?dryRun=", 400, 0),
        ("?other=1", 200, 1),
        ("?dryRun=yes", 400, 0),
    ],
)
def test_dry_run_in_each_spelling_validates_and_enqueues_nothing(
    gateway: LocalGateway, query: str, status: int, enqueued: int
) -> None:
    """Only a real upload enqueues; what may have been meant as a dry run answers 400."""
    answer = gateway.run(lambda gateway: gateway.upload(event(), BAD_NAME, query=query))
    assert answer.status == status
    if status == 200:
        assert answer.json()["processed"] == 1
        assert answer.json()["unprocessed"][0]["code"] == 509
    assert len(gateway.buffered()) == enqueued


UNAUTHORISED = [
    ({}, "12 digit account ID mandatory"),
    ({"X-CleverTap-Passcode": "KEY"}, "12 digit account ID mandatory"),
    ({"X-CleverTap-Account-Id": "ACC"}, "Passcode Invalid"),
    ({"X-CleverTap-Account-Id": "ACC", "X-CleverTap-Passcode": "wrong"}, "Passcode Invalid"),
    ({"X-CleverTap-Account-Id": "ACC", "X-CleverTap-Passcode": "ALMOST"}, "Passcode Invalid"),
    ({"Authorization": "Bearer wrong"}, "Passcode Invalid"),
    ({"Authorization": "Bearer"}, "12 digit account ID mandatory"),
    ({"Authorization": "Basic S0VZ"}, "12 digit account ID mandatory"),
]


@pytest.mark.parametrize(("headers", "text"), UNAUTHORISED)
def test_upload_without_a_known_key_answers_401(
    gateway: LocalGateway, headers: dict[str, str], text: str
) -> None:
    """The answer is 401 in the vendor's words, before the body is read."""
    words = {"KEY": gateway.key, "ALMOST": gateway.key[:-1]}
    headers = {name: words.get(value, value) for name, value in headers.items()}

    answer = gateway.run(
        lambda gateway: request_app(
            gateway.app, "POST", "/1/upload", headers=headers, body=b"no JSON"
        )
    )
    assert answer.status == 401
    assert answer.json() == {"status": "fail", "error": text, "code": 401}


def test_upload_with_a_bearer_token_needs_no_account(gateway: LocalGateway) -> None:
    """A client without the vendor's headers sends its key as a bearer token."""

    async def talk(gateway: LocalGateway) -> GatewayResponse:
        headers = {"Authorization": f"Bearer {gateway.key}"}
        body = orjson.dumps({"d": [event()]})
        return await request_app(gateway.app, "POST", "/1/upload", headers=headers, body=body)

    assert gateway.run(talk).json()["processed"] == 1


def test_upload_for_an_account_other_than_the_configured_one_answers_401(
    gateway_factory: LocalGatewayFactory,
) -> None:
    """Where the account's id is configured, another one is a mistake."""
    gateway = gateway_factory(CLEVERTAP_ACCOUNT_ID="REAL-ACC", CLEVERTAP_PASSCODE="secret")

    async def talk(gateway: LocalGateway) -> list[int]:
        named = ("REAL-ACC", "clevertap", "TEST-ACC", "bloomreach")
        asked = [gateway.upload(event(), X_CleverTap_Account_Id=each) for each in named]
        return [answer.status for answer in await gather_all(asked)]

    assert gateway.run(talk) == [200, 200, 401, 401]


@pytest.mark.parametrize(("accepted", "status"), [("", 401), ("1", 200)])
def test_vendor_credentials_are_accepted_only_when_allowed(
    gateway_factory: LocalGatewayFactory, accepted: str, status: int
) -> None:
    """An unchanged client's own account id and passcode work only where the operator allows it."""
    gateway = gateway_factory(
        CLEVERTAP_ACCOUNT_ID="REAL-ACC",
        CLEVERTAP_PASSCODE="vendors-secret",
        INGEST_GATEWAY_ACCEPT_VENDOR_CREDENTIALS=accepted,
    )

    async def talk(gateway: LocalGateway) -> list[int]:
        asked = [
            await gateway.upload(
                event(), X_CleverTap_Account_Id=account, X_CleverTap_Passcode=passcode
            )
            for account, passcode in (
                ("REAL-ACC", "vendors-secret"),
                ("OTHER-ACC", "vendors-secret"),
                ("REAL-ACC", "wrong"),
            )
        ]
        return [answer.status for answer in asked]

    assert gateway.run(talk) == [status, 401, 401]


def test_vendor_credentials_that_are_not_configured_match_nothing(
    gateway_factory: LocalGatewayFactory,
) -> None:
    """Empty credentials of a destination without secrets authenticate no client."""
    gateway = gateway_factory(INGEST_GATEWAY_ACCEPT_VENDOR_CREDENTIALS="1")

    async def talk(gateway: LocalGateway) -> int:
        return (await gateway.upload(event(), X_CleverTap_Passcode=" ")).status

    assert gateway.run(talk) == 401


def test_key_for_one_destination_answers_403_for_another(gateway: LocalGateway) -> None:
    """A key made for Bloomreach alone is rejected by CleverTap's endpoint, and works at its own."""
    key = KeyTable(gateway.client).create("narrow", frozenset(("bloomreach",)))

    async def talk(gateway: LocalGateway) -> list[int]:
        upload = await gateway.upload(event(), X_CleverTap_Passcode=key)
        time_of = await gateway.track("system/time", b"", "GET", Authorization=f"Token {key}")
        return [upload.status, time_of.status]

    assert gateway.run(talk) == [403, 200]


def test_key_once_revoked_answers_401_within_seconds(gateway: LocalGateway) -> None:
    """A gateway that knows the key forgets it when the operator revokes it."""
    table = KeyTable(gateway.client)
    key = table.create("old")

    async def talk(gateway: LocalGateway) -> list[int]:
        first = (await gateway.upload(event(), X_CleverTap_Passcode=key)).status
        table.revoke("old")
        ends = time.monotonic() + 60
        status = first
        while status == 200 and time.monotonic() < ends:
            status = (
                await gateway.upload(event(), X_CleverTap_Passcode=key, query="?dryRun=1")
            ).status
        return [first, status]

    assert gateway.run(talk) == [200, 401]


def test_key_created_while_running_is_accepted_on_first_use(gateway: LocalGateway) -> None:
    """A key created while the gateway runs is known when it is first used."""

    async def talk(gateway: LocalGateway) -> list[int]:
        before = (await gateway.upload(event())).status
        key = KeyTable(gateway.client).create("new")
        ends = time.monotonic() + 60
        status = 401
        while status == 401 and time.monotonic() < ends:
            status = (await gateway.upload(event(), X_CleverTap_Passcode=key)).status
        return [before, status]

    assert gateway.run(talk) == [200, 200]


def test_gzip_body_is_accepted_within_the_limit_of_its_content(
    gateway_factory: LocalGatewayFactory,
) -> None:
    """A compressed body counts by its content, and an incomplete gzip stream answers 400."""
    gateway = gateway_factory(INGEST_GATEWAY_MAX_UNFOLDED_BYTES="100000")
    fits = gzip.compress(orjson.dumps({"d": [event()]}))
    bomb = gzip.compress(b" " * 200_000)

    async def talk(gateway: LocalGateway) -> list[int]:
        asked = [
            await gateway.upload_bytes(body, Content_Encoding=encoding)
            for body, encoding in (
                (fits, "gzip"),
                (fits, "GZIP"),
                (bomb, "gzip"),
                (fits[:-3], "gzip"),
                (fits + b"more", "gzip"),
                (b"no gzip", "gzip"),
                (fits, "br"),
            )
        ]
        return [answer.status for answer in asked]

    assert gateway.run(talk) == [200, 200, 413, 400, 400, 400, 415]
    assert len(gateway.buffered()) == 2


def test_body_over_the_limit_answers_413_without_reading_the_rest(
    gateway_factory: LocalGatewayFactory,
) -> None:
    """The answer is 413 for a body announced as too large, and for one that turns out to be."""
    gateway = gateway_factory(INGEST_GATEWAY_MAX_BODY_BYTES="1000")
    large = orjson.dumps({"d": [event(evtData={"x": "y" * 400})] * 3})

    async def talk(gateway: LocalGateway) -> list[int]:
        announced = await gateway.upload_bytes(b"", Content_Length="1001")
        whole = await gateway.upload_bytes(large)
        in_parts = await gateway.upload_bytes([large[:600], large[600:], b"never read"])
        fits = await gateway.upload_bytes([b'{"d":', orjson.dumps([event()]), b"}"])
        return [each.status for each in (announced, whole, in_parts, fits)]

    assert gateway.run(talk) == [413, 413, 413, 200]
    assert len(gateway.buffered()) == 1


def test_key_over_its_rate_answers_429_with_retry_after(
    gateway_factory: LocalGatewayFactory,
) -> None:
    """An empty bucket answers 429 with Retry-After, and other keys are not affected."""
    gateway = gateway_factory(
        INGEST_GATEWAY_RATE_RECORDS_PER_S="1", INGEST_GATEWAY_RATE_BURST_RECORDS="5"
    )
    other = KeyTable(gateway.client).create("other")

    async def talk(gateway: LocalGateway) -> list[GatewayResponse]:
        return [
            await gateway.upload(*[event()] * 8),
            await gateway.upload(event()),
            await gateway.upload(event(), X_CleverTap_Passcode=other),
        ]

    first, second, third = gateway.run(talk)
    assert [first.status, second.status, third.status] == [200, 429, 200]
    assert 1 <= int(second.headers["retry-after"]) <= 5
    assert len(gateway.buffered()) == 9


def test_full_buffer_answers_503_and_still_accepts_smaller_requests(
    gateway_factory: LocalGatewayFactory,
) -> None:
    """What does not fit is rejected as a whole; smaller requests behind it still go in."""
    gateway = gateway_factory(INGEST_MAX_BUFFERED="10")

    async def talk(gateway: LocalGateway) -> list[GatewayResponse]:
        await gateway.upload(event(), query="?dryRun=1")  # so that the key is known to all
        sizes = (6, 6, 3, 2, 1)
        return await gather_all([gateway.upload(*[event(str(size))] * size) for size in sizes])

    answers = gateway.run(talk)
    assert [each.status for each in answers] == [200, 503, 200, 503, 200]
    assert all(each.headers["retry-after"] == "5" for each in answers if each.status == 503)
    assert "nothing was accepted" in answers[1].json()["error"]
    assert sorted(each["identity"] for each in gateway.buffered()) == sorted("6666663331")


def test_redis_out_of_memory_answers_503_and_recovers(gateway: LocalGateway) -> None:
    """The answer is 503 with nothing enqueued, and uploads work again when there is memory."""
    gateway.client.config_set("maxmemory", "1")

    async def talk(gateway: LocalGateway) -> list[GatewayResponse]:
        full = await gateway.upload(event(), profile())
        gateway.client.config_set("maxmemory", "1gb")
        return [full, await gateway.upload(event(), profile())]

    full, taken = gateway.run(talk)
    assert (full.status, taken.status) == (503, 200)
    assert "nothing was accepted" in full.json()["error"]
    assert len(gateway.buffered()) == len(gateway.buffered("profile")) == 1


def test_accepted_records_are_counted_in_the_totals_of_all_producers(gateway: LocalGateway) -> None:
    """The gateway's records are in the same totals as a producer's, so they add up."""
    gateway.run(
        lambda gateway: gather_all(
            [gateway.upload(event(str(n)), profile(str(n))) for n in range(50)]
        )
    )
    counters: dict[bytes, bytes] = gateway.client.hgetall(keys.counters("clevertap"))  # type: ignore[assignment] # a blocking client
    assert counters == {b"event:accepted": b"50", b"profile:accepted": b"50"}
    assert gateway.client.hget(keys.state("clevertap"), "buffered") == b"100"
    assert len(gateway.buffered()) == len(gateway.buffered("profile")) == 50


def test_profiles_of_one_identity_stay_in_order(gateway: LocalGateway) -> None:
    """Profiles in consecutive and in concurrent requests keep their order of arrival."""

    async def talk(gateway: LocalGateway) -> None:
        for batch in range(5):
            asked = [gateway.upload(profile("42", Number=batch * 10 + n)) for n in range(10)]
            await gather_all(asked)

    gateway.run(talk)
    numbers = [each["profileData"]["Number"] for each in gateway.buffered("profile")]
    assert numbers == list(range(50))


def test_readyz_reports_whether_redis_and_the_drain_work(
    gateway_factory: LocalGatewayFactory, redis_client: redis.Redis
) -> None:
    """It answers 503 before the first drain and when the last is too old; 200 while they tick,
    whatever interval is configured."""

    async def talk(gateway: LocalGateway) -> list[int]:
        statuses = []
        for age_s in (None, 1, 64):
            if age_s is not None:
                ticked = int((time.time() - age_s) * 1000)
                redis_client.hset(keys.state("clevertap"), "ticked_at", ticked)
            statuses.append((await request_app(gateway.app, "GET", "/readyz")).status)
        return statuses

    assert gateway_factory().run(talk) == [503, 200, 503]
    redis_client.delete(keys.state("clevertap"))
    assert gateway_factory(INGEST_DRAIN_INTERVAL_S="60").run(talk) == [503, 200, 200]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json", "/metrics"])
def test_head_request_is_answered_like_get(gateway: LocalGateway, path: str) -> None:
    """Some load balancers use HEAD."""

    async def talk(gateway: LocalGateway) -> list[int]:
        return [
            (await request_app(gateway.app, method, path)).status
            for method in ("GET", "HEAD", "POST")
        ]

    get, head, post = gateway.run(talk)
    assert (head, post) == (get, 405)


def test_stopping_server_answers_503_to_an_incomplete_body(gateway: LocalGateway) -> None:
    """A stopping server cancels requests that take too long, and nothing was accepted."""

    async def talk(gateway: LocalGateway) -> GatewayResponse:
        reading = asyncio.Event()

        async def never_whole() -> Message:
            reading.set()
            return await asyncio.Future()

        headers = {"Authorization": f"Bearer {gateway.key}"}
        asked = asyncio.create_task(
            request_app(gateway.app, "POST", "/1/upload", headers=headers, coming=never_whole)
        )
        await reading.wait()
        asked.cancel()
        return await asked

    answer = gateway.run(talk)
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert "nothing was accepted" in answer.json()["error"]
    assert gateway.buffered() == []
