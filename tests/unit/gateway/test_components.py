"""The gateway's pure parts, as tables."""

from __future__ import annotations

import asyncio
import re
from dataclasses import fields
from typing import Any

import orjson
import pytest
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from support.environment import ROOT
from support.gateway import request_app
from worker.errors import SettingsError
from worker.gateway.api.request_handler import named
from worker.gateway.app import operations, vendors
from worker.gateway.auth import credentials
from worker.gateway.auth.api_keys import digest, find, read_table
from worker.gateway.auth.credentials import Credentials
from worker.gateway.auth.rate_limit import RateLimits
from worker.gateway.components import build_components
from worker.gateway.operations.openapi import document
from worker.gateway.server.endpoint import RequestInfo, parameter
from worker.gateway.server.errors import HttpError
from worker.gateway.server.middleware import Middleware
from worker.gateway.server.request_body import MOST_CONTAINERS, MOST_VALUES, BodyReader
from worker.gateway.settings import GatewaySettings
from worker.settings.destination import Destination, KindSettings
from worker.vendors.clevertap.account import CleverTapAccount

REDIS = {"REDIS_URL": "redis://127.0.0.1:1/0"}
KINDS = {"event": KindSettings(1000)}


def destination(name: str, account_id: str = "") -> Destination:
    """A CleverTap destination."""
    return Destination(name, CleverTapAccount(account_id=account_id), KINDS)


ONE = [destination("main")]
KNOWN = [destination("main", "ACC-1")]
TWO = [destination("eu", "ACC-1"), destination("in")]


@pytest.mark.parametrize(
    ("destinations", "name", "found"),
    [
        (ONE, "anything", "main"),
        (KNOWN, "ACC-1", "main"),
        (KNOWN, "main", "main"),
        (KNOWN, "ACC-2", None),
        (KNOWN, "", None),
        (TWO, "ACC-1", "eu"),
        (TWO, "in", "in"),
        (TWO, "ACC-2", None),
        (TWO, "", None),
        ([], "main", None),
    ],
)
def test_an_account_names_a_destination(
    destinations: list[Destination], name: str, found: str | None
) -> None:
    """By its name or its account; any name will do only where there is nothing to mix up."""
    meant = named(destinations, name)
    assert (meant.name if meant else None) == found


@pytest.mark.parametrize(
    ("header", "shown"),
    [
        ("Basic aWQ6c2VjcmV0", Credentials("id", "secret")),
        ("basic  aWQ6c2VjcmV0 ", Credentials("id", "secret")),
        ("Basic aWQ6YTpi", Credentials("id", "a:b")),
        ("Basic aWQ6", Credentials("", "id")),
        ("Basic aWQ=", None),
        ("Basic Og==", None),
        ("Basic a", None),
        ("Token abc", Credentials("", "abc")),
        ("Bearer abc", Credentials("", "abc")),
        ("Token ", None),
        ("", None),
    ],
)
def test_bloomreachs_header_is_read(header: str, shown: Credentials | None) -> None:
    """Each way of the vendor's clients to show a key, and what is none."""
    assert credentials.bloomreach(header) == shown


def test_a_key_table_passes_over_what_is_not_ours() -> None:
    """A damaged entry makes no key, and costs the others nothing."""
    good = {"digest": digest("k").decode(), "created_s": 1, "destinations": ["main"]}
    keys = read_table(
        {
            b"good": orjson.dumps(good),
            b"half": b"{",
            b"list": b"[]",
            b"none": orjson.dumps({**good, "digest": None}),
            b"\xff": orjson.dumps(good),
        }
    )
    found = find(keys, "k")
    assert found is not None
    assert (found.name, found.may_send_to("main"), found.may_send_to("other")) == (
        "good",
        True,
        False,
    )
    assert find(keys, "K") is None
    assert find(keys, "\udcff") is None


def test_a_bucket_fills_with_time_and_bears_debt() -> None:
    """A large request is let in and paid for afterwards; the wait is told to the second."""
    now = [0.0]
    rates = RateLimits(10, 20, clock=lambda: now[0])
    rates.let_in("a")
    rates.charge("a", 40)  # 20 - 40 = -20: 2.1 s until there is one again
    with pytest.raises(HttpError) as refused:
        rates.let_in("a")
    assert (refused.value.status, refused.value.headers) == (429, [(b"retry-after", b"3")])
    rates.let_in("b")
    now[0] = 2.0
    with pytest.raises(HttpError):
        rates.let_in("a")
    now[0] = 2.11
    rates.let_in("a")
    with pytest.raises(HttpError):
        rates.let_in("a")


def test_a_bucket_holds_no_more_than_its_burst() -> None:
    """An idle key saves up no more than the burst."""
    now = [0.0]
    rates = RateLimits(10, 3, clock=lambda: now[0])
    rates.let_in("a")
    now[0] = 1000.0
    for _ in range(3):
        rates.let_in("a")
    with pytest.raises(HttpError):
        rates.let_in("a")


def test_no_rate_is_no_limit() -> None:
    """With 0 nobody is held up."""
    rates = RateLimits(0, 0)
    for _ in range(100):
        rates.let_in("a")
        rates.charge("a", 1000)


def nest(levels: int) -> bytes:
    """Arrays in an object, so many levels together."""
    return b'{"a":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


@pytest.mark.parametrize(("levels", "fits"), [(1, True), (5, True), (6, False), (2000, False)])
def test_depth_is_bounded(levels: int, fits: bool) -> None:
    """So many levels pass, and one more is refused, also where the parser itself gives up."""
    reader = BodyReader(GatewaySettings(max_depth=5))
    body = nest(levels) if levels > 1 else b'{"a":1}'
    if fits:
        assert reader.parse(body)
    else:
        with pytest.raises(ValueError, match=r"nest|depth"):
            reader.parse(body)


@pytest.mark.parametrize(("value", "most"), [(b"{}", MOST_CONTAINERS - 1), (b"1", MOST_VALUES + 1)])
def test_what_a_body_holds_is_counted(value: bytes, most: int) -> None:
    """Values, and above all arrays and objects, are cheap to send and dear to parse and to check:
    413 beyond a number of them."""
    reader = BodyReader(GatewaySettings())
    fits = b"[" + b",".join([value] * most) + b"]"
    assert len(reader.parse(fits)) == most
    with pytest.raises(HttpError) as refused:
        reader.parse(b"[" + value + b"," + fits + b"]")
    assert refused.value.status == 413


@pytest.mark.parametrize(
    ("query", "values"),
    [
        (b"", set()),
        (b"a=1", set()),
        (b"dryRun=1", {"1"}),
        (b"DRYRUN=1", {"1"}),
        (b"dryRun", {""}),
        (b"dryRun=0&dryRun=%31", {"0", "1"}),
        (b"\xff=\xfe", set()),
    ],
)
def test_a_parameter_is_found_and_decoded(query: bytes, values: set[str]) -> None:
    """Decoded once, by its name in any case; all of its values count."""
    assert parameter(query, "dryRun") == values


def test_settings_come_from_their_variables() -> None:
    """Each setting is read from INGEST_GATEWAY_ and its name, the port from PORT."""
    environ = {
        "PORT": "9000",
        "INGEST_GATEWAY_ACCEPT_VENDOR_CREDENTIALS": "true",
        "INGEST_GATEWAY_CORS_ORIGINS": "https://a.example, https://b.example",
        "INGEST_GATEWAY_REDIS_TIMEOUT_S": "0.5",
        "INGEST_GATEWAY_MAX_DEPTH": "",
    }
    settings = GatewaySettings.from_env(environ)
    assert (settings.port, settings.accept_vendor_credentials) == (9000, True)
    assert settings.cors_origins == ("https://a.example", "https://b.example")
    assert settings.redis_timeout_s == 0.5
    assert settings.max_depth == GatewaySettings().max_depth
    assert {GatewaySettings.variable(each.name) for each in fields(GatewaySettings)} >= set(environ)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "65536"),
        ("PORT", "http"),
        ("INGEST_GATEWAY_PROCESSES", "0"),
        ("INGEST_GATEWAY_MAX_BODY_BYTES", "-1"),
        ("INGEST_GATEWAY_MAX_DEPTH", "201"),
        ("INGEST_GATEWAY_MAX_CONNECTIONS", "0"),
        ("INGEST_GATEWAY_REDIS_TIMEOUT_S", "6"),
        ("INGEST_GATEWAY_RATE_BURST_RECORDS", "0"),
        ("INGEST_GATEWAY_ACCESS_LOG", "yes"),
        ("INGEST_GATEWAY_CORS_ORIGINS", "shop.example"),
        ("INGEST_GATEWAY_CORS_ORIGINS", "https://shop.example/path"),
        ("INGEST_GATEWAY_ACCEPT_VENDOR_CREDENTIALS", "maybe"),
    ],
)
def test_a_wrong_setting_is_named(name: str, value: str) -> None:
    """The error names the variable."""
    with pytest.raises(SettingsError, match=f"^{name}: "):
        GatewaySettings.from_env({name: value})


ROW = re.compile(r"^\| `(PORT|INGEST_GATEWAY_\w+)` \|[^|]*\| ([^|]*) \|", re.MULTILINE)


def spelt(default: Any) -> str:
    """A default as the docs tell it."""
    if isinstance(default, float):
        return f"{default:g}"
    return {False: "no", (): "none"}.get(default, str(default))


def test_every_setting_is_told_in_the_docs() -> None:
    """docs/configuration.md has a row for each variable of the gateway, with its default."""
    told = dict(ROW.findall((ROOT / "docs" / "configuration.md").read_text()))
    assert told == {
        GatewaySettings.variable(each.name): spelt(each.default) for each in fields(GatewaySettings)
    }


def test_the_document_and_the_routes_agree() -> None:
    """Every route is in /openapi.json with its method, and nothing else is."""

    async def routes() -> set[tuple[str, str]]:
        parts = build_components(REDIS)
        made = [*vendors(parts), *operations(parts)]
        endpoints: list[Any] = [route.app for route in made if isinstance(route, Route)]
        assert len(endpoints) == len(made)
        return {(gateway.path, gateway.method.lower()) for gateway in endpoints}

    paths = document(GatewaySettings())["paths"]
    assert {(path, method) for path, methods in paths.items() for method in methods} == (
        asyncio.run(routes())
    )


def test_the_document_tells_of_repeats_where_they_may_be() -> None:
    """Who takes an Idempotency-Key says Idempotency-Replayed, and nobody else does."""
    paths = document(GatewaySettings())["paths"].values()
    takes, says = [], []
    for each in (operation for path in paths for operation in path.values()):
        takes.append("Idempotency-Key" in {named["name"] for named in each.get("parameters", ())})
        says.append("Idempotency-Replayed" in each["responses"]["200"].get("headers", ()))
    assert takes == says
    assert any(takes)


def test_a_bug_becomes_a_500_that_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The last net answers without the error's text, and observers are told."""
    payload: list[tuple[str, int]] = []

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("jane.doe@example.com")

    def observe(method: str, seen: RequestInfo, status: int, seconds: float) -> None:
        del seen, seconds
        payload.append((method, status))

    answer = asyncio.run(request_app(Middleware(broken, [observe]), "POST", "/1/upload"))
    assert answer.status == 500
    assert answer.json() == {"status": "fail", "error": "Internal error", "code": 500}
    assert payload == [("POST", 500)]
    assert "jane" not in caplog.text
