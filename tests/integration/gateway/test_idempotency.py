"""`Idempotency-Key`: the records of a key are enqueued once, whatever is repeated."""

from __future__ import annotations

from copy import copy

import orjson
import pytest

from support.gateway import (
    GatewayResponse,
    LocalGateway,
    LocalGatewayFactory,
    end,
    event,
    gather_all,
    tracked,
)
from worker.gateway.api.enqueuer import RESPONSES_KEPT_MS
from worker.gateway.app import create_app
from worker.gateway.auth.api_keys import KeyTable

BAD = event(evtName="")


def test_repeat_with_the_same_key_gets_the_first_response_and_enqueues_nothing(
    gateway: LocalGateway,
) -> None:
    """The same bytes come back, rejected records included, marked as a replay."""

    async def talk(gateway: LocalGateway) -> list[GatewayResponse]:
        records = [event("1"), BAD, event("2")]
        return [await gateway.upload(*records, Idempotency_Key="k1") for _ in range(3)]

    first, *repeats = gateway.run(talk)
    assert first.json()["processed"] == 2
    for each in repeats:
        assert (each.status, each.body) == (first.status, first.body)
        assert each.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert len(gateway.buffered()) == 2


def test_repeated_batch_gets_the_times_of_the_first_response(gateway: LocalGateway) -> None:
    """Bloomreach's response holds times; a repeat gets those of the first one."""
    body = {"commands": [{"name": "customers/events", "data": tracked()}, {"name": "system/time"}]}

    async def talk(gateway: LocalGateway) -> list[GatewayResponse]:
        return [await gateway.track("batch", body, Idempotency_Key="k1") for _ in range(2)]

    first, second = gateway.run(talk)
    assert first.body == second.body
    assert len(gateway.buffered("event", "bloomreach")) == 1


def test_repeat_of_a_rejected_event_gets_the_same_rejection(gateway: LocalGateway) -> None:
    """A repeat reports a rejected record in the same way."""

    async def talk(gateway: LocalGateway) -> list[GatewayResponse]:
        body = tracked(customer_ids={})
        return [
            await gateway.track("customers/events", body, Idempotency_Key="k1") for _ in range(2)
        ]

    first, second = gateway.run(talk)
    assert first.body == second.body
    assert second.headers["idempotency-replayed"] == "true"


def test_concurrent_repeats_through_two_gateways_enqueue_once(
    gateway_factory: LocalGatewayFactory,
) -> None:
    """Repeats at the same time get one response, and the records go in once."""
    one = gateway_factory()
    two = copy(one)

    async def talk(_: LocalGateway) -> list[GatewayResponse]:
        two.app = create_app(two.environ)
        asked = [each.upload(event(), Idempotency_Key="k1") for each in (one, two) * 10]
        answers = await gather_all(asked)
        await end(two.app)
        return answers

    answers = one.run(talk)
    assert {(each.status, each.body) for each in answers} == {(200, answers[0].body)}
    assert sum("idempotency-replayed" in each.headers for each in answers) == len(answers) - 1
    assert len(one.buffered()) == 1


@pytest.mark.parametrize("changed", ["body", "query", "path"])
def test_key_reused_for_another_request_answers_422(gateway: LocalGateway, changed: str) -> None:
    """The records of the other request are not accepted."""

    async def talk(gateway: LocalGateway) -> list[GatewayResponse]:
        first = await gateway.upload(event("1"), Idempotency_Key="k1")
        if changed == "path":
            other = await gateway.track("customers/events", tracked(), Idempotency_Key="k1")
            return [first, other]
        record = event("2") if changed == "body" else event("1")
        query = "?dryRun=0" if changed == "query" else ""
        return [first, await gateway.upload(record, query=query, Idempotency_Key="k1")]

    first, other = gateway.run(talk)
    assert first.status == 200
    if changed == "path":  # another destination has a place of its own in Redis
        assert other.status == 200
    else:
        assert other.status == 422
        assert "nothing was accepted" in other.json()["error"]
    assert len(gateway.buffered()) == 1


def test_equal_keys_of_two_producers_are_independent(gateway: LocalGateway) -> None:
    """Two web apps may choose the same key without knowing of each other."""
    other = KeyTable(gateway.client).create("other")

    async def talk(gateway: LocalGateway) -> list[int]:
        mine = await gateway.upload(event("1"), Idempotency_Key="k1")
        theirs = await gateway.upload(event("2"), Idempotency_Key="k1", X_CleverTap_Passcode=other)
        return [mine.status, theirs.status]

    assert gateway.run(talk) == [200, 200]
    assert len(gateway.buffered()) == 2


def test_repeat_of_a_request_without_room_is_accepted_when_there_is_room(
    gateway_factory: LocalGatewayFactory,
) -> None:
    """A request that found no room may be repeated with its key."""
    gateway = gateway_factory(INGEST_MAX_BUFFERED="2")

    async def talk(gateway: LocalGateway) -> list[int]:
        await gateway.upload(event("1"))
        full = await gateway.upload(event("2"), event("3"), Idempotency_Key="k1")
        gateway.client.delete("ingest:{clevertap}:pending:event:0", "ingest:{clevertap}:state")
        taken = await gateway.upload(event("2"), event("3"), Idempotency_Key="k1")
        return [full.status, taken.status]

    assert gateway.run(talk) == [503, 200]
    assert [each["identity"] for each in gateway.buffered()] == ["2", "3"]


def test_dry_run_does_not_use_up_a_key(gateway: LocalGateway) -> None:
    """A dry run with a key does not count as its first request."""

    async def talk(gateway: LocalGateway) -> list[GatewayResponse]:
        await gateway.upload(event(), query="?dryRun=1", Idempotency_Key="k1")
        return [await gateway.upload(event(), Idempotency_Key="k1")]

    (answer,) = gateway.run(talk)
    assert answer.json()["processed"] == 1
    assert len(gateway.buffered()) == 1


def test_invalid_key_answers_400(gateway: LocalGateway) -> None:
    """Nothing of the request is enqueued."""

    async def talk(gateway: LocalGateway) -> int:
        return (await gateway.upload(event(), Idempotency_Key="a b")).status

    assert gateway.run(talk) == 400
    assert gateway.buffered() == []


def test_stored_response_holds_no_record_and_expires_after_a_day(gateway: LocalGateway) -> None:
    """What Redis stores for a key is small, holds no record, and expires."""

    async def talk(gateway: LocalGateway) -> GatewayResponse:
        records = [
            event(evtData={"secret": "s" * 400}),
            event(evtName="", evtData={"x": "t" * 400}),
        ]
        return await gateway.upload(*records, Idempotency_Key="k1")

    gateway.run(talk)
    (name,) = gateway.client.keys("ingest:{clevertap}:answer:*")
    kept = gateway.client.get(name)
    assert isinstance(kept, bytes)
    assert b"ssss" not in kept
    assert b"tttt" not in kept
    assert [each[:2] for each in orjson.loads(kept[32:])] == [[2, 509]]
    left_ms: int = gateway.client.pttl(name)
    assert RESPONSES_KEPT_MS - 60_000 < left_ms <= RESPONSES_KEPT_MS
