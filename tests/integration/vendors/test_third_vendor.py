"""A third vendor is one package and one line: Acme's records take every way that others take."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path

import orjson
import pytest
import redis

from support.acme import NO_USER_CODE, AcmeAccount, acme_routes
from support.gateway import end, request_app
from support.vendor import Exchange, LoopbackVendor
from worker import InvalidRecord, Producer
from worker.app.runtime import DestinationRuntime, Runtime
from worker.buffer.status import KindCounts
from worker.dead_letters.letters import DeadLetters
from worker.dead_letters.replay import Replayer
from worker.delivery.drain import Dispatch
from worker.errors import InvalidQuery, SettingsError
from worker.gateway.app import ROUTERS, create_app
from worker.gateway.auth.api_keys import KeyTable
from worker.readback.client import reading
from worker.settings.settings import Settings
from worker.vendors.protocol import Kind
from worker.vendors.registry import VENDORS

FILE = """
[destinations.shop]
vendor = "acme"
token = "${ACME_TOKEN}"
user_field = "who"
base_url = "${ACME_URL}"
max_wait_s = 0
kinds.event.batch_records = 10
"""
TOKEN = "acme-s3cret-token"


class AcmeServer:
    """Acme itself: takes rows, except those of the users it does not know."""

    def __init__(self, vendor: LoopbackVendor) -> None:
        self.unknown = {"ghost"}
        self.rows: list[dict[str, str]] = []
        self.tokens: set[str] = set()
        vendor.usual = self._answer

    def _answer(self, exchange: Exchange) -> None:
        rows = orjson.loads(exchange.body(exchange.head()))["rows"]
        self.tokens.add(exchange.noted.headers["x-acme-token"])
        refused = [at for at, row in enumerate(rows) if row["who"] in self.unknown]
        self.rows += [row for at, row in enumerate(rows) if at not in refused]
        exchange.answer(200, {"refused": refused})


@pytest.fixture
def server(vendor: LoopbackVendor) -> AcmeServer:
    """Acme's server, on loopback."""
    return AcmeServer(vendor)


@pytest.fixture
def environ(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, redis_url: str, vendor: LoopbackVendor
) -> Mapping[str, str]:
    """An environment with an account at Acme; the vendor is registered by one line."""
    monkeypatch.setitem(VENDORS, AcmeAccount.vendor, AcmeAccount)
    path = tmp_path / "destinations.toml"
    path.write_text(FILE)
    return {
        "REDIS_URL": redis_url,
        "INGEST_DESTINATIONS": str(path),
        "ACME_TOKEN": TOKEN,
        "ACME_URL": vendor.base_url,
    }


@pytest.fixture
def running(environ: Mapping[str, str]) -> Iterator[DestinationRuntime]:
    """A worker's parts for the account."""
    asked = Dispatch(deliver=lambda _, __: None, probe=lambda _: None)
    runtime = Runtime(Settings.from_env(environ), asked)
    yield runtime.destinations["shop"]
    runtime.close()


def deliver(running: DestinationRuntime) -> KindCounts:
    """Deliver what is ready; returns where the records are."""
    running.deliverer.run_ready(is_over=lambda: False)
    counts = running.buffer.status().kinds[Kind.EVENT]
    assert counts.adds_up
    return counts


def test_acme_settings_are_read_shown_and_checked(environ: Mapping[str, str]) -> None:
    """Its keys are read from the file, secrets masked; a wrong one is named."""
    settings = Settings.from_env(environ)
    assert settings.destination().enabled
    shown = {each.name: (each.value, each.origin) for each in settings.sources}
    assert shown["destinations.shop.token"] == ("***", "environment ACME_TOKEN")
    assert shown["destinations.shop.user_field"] == ("who", "destinations file")
    assert not Settings.from_env({**environ, "ACME_TOKEN": ""}).destination().enabled
    path = Path(environ["INGEST_DESTINATIONS"])
    path.write_text(FILE.replace("event", "profile"))
    with pytest.raises(SettingsError, match=r"destinations\.shop\.kinds\.profile: acme has event"):
        Settings.from_env(environ)
    path.write_text(FILE.replace("= 10", "= 11"))
    with pytest.raises(SettingsError, match="batch_records is 1-10"):
        Settings.from_env(environ)


def test_produced_record_is_delivered(
    environ: Mapping[str, str], running: DestinationRuntime, server: AcmeServer
) -> None:
    """From a producer's call to the vendor's shape and its server, with the account's token."""
    producer = Producer.from_env(environ)
    producer.event("Viewed", {"price": 5}, identity="jack")
    with pytest.raises(InvalidRecord, match="who"):
        producer.send({"action": "Viewed"})
    counts = deliver(running)
    assert (counts.dead, counts.open, counts.totals["delivered"]) == (0, 0, 1)
    assert server.rows == [{"who": "jack", "action": "Viewed", "at": None, "price": 5}]
    assert server.tokens == {TOKEN}


def test_refused_record_is_a_dead_letter_that_can_be_replayed(
    environ: Mapping[str, str],
    running: DestinationRuntime,
    server: AcmeServer,
    redis_client: redis.Redis,
) -> None:
    """The vendor's code and text stay with the letter; a replay delivers it."""
    Producer.from_env(environ).event("Viewed", identity="ghost")
    assert deliver(running).dead == 1
    letters = DeadLetters(redis_client, running.destination)
    (letter,) = letters.select()
    assert (letter.reason, letter.code, letter.error) == ("refused", NO_USER_CODE, "no such user")
    assert running.destination.account.field_of(letter.code) == "user"
    server.unknown.clear()
    replayed = Replayer(redis_client, running.destination).replay(letters.select(), print)
    assert (replayed, deliver(running).totals["delivered"]) == (1, 1)
    assert [row["who"] for row in server.rows] == ["ghost"]


@pytest.mark.parametrize("secret", ["key", "token"])
def test_gateway_takes_acme_records_with_a_key_or_its_own_token(
    environ: Mapping[str, str],
    running: DestinationRuntime,
    server: AcmeServer,
    redis_client: redis.Redis,
    secret: str,
) -> None:
    """Acme's route stands in a module of its own, and is one more router."""
    key = KeyTable(redis_client).create("web") if secret == "key" else TOKEN
    rows = orjson.dumps({"rows": [{"who": "jill", "action": "Viewed"}, {"action": "Viewed"}]})
    accepting = {**environ, "INGEST_GATEWAY_ACCEPT_VENDOR_CREDENTIALS": "true"}

    async def talk() -> None:
        app = create_app(accepting, routers=(*ROUTERS, acme_routes))
        for shown, status in ((f"Bearer {key}", 200), ("Bearer wrong", 401)):
            answer = await request_app(
                app, "POST", "/acme/shop/rows", headers={"Authorization": shown}, body=rows
            )
            assert answer.status == status
            assert status != 200 or answer.json() == {"refused": [1]}
        await end(app)

    asyncio.run(talk())
    assert deliver(running).totals["delivered"] == 1
    assert server.rows == [{"who": "jill", "action": "Viewed"}]


def test_what_acme_does_not_offer_is_refused_in_words(environ: Mapping[str, str]) -> None:
    """Read-back is the vendor's to declare."""
    with (
        pytest.raises(InvalidQuery, match="shop: no read-back from acme"),
        reading(Settings.from_env(environ).destination()),
    ):
        pass
