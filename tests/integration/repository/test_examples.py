"""The example applications of the guides, run with their frameworks' test clients."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import redis

from support.environment import ROOT
from support.gateway import buffered

EXAMPLES = ROOT / "docs" / "examples"
ORDER = {"customer": "jack", "amount": 59.5}
INVALID_ORDER = {"customer": "null", "amount": 59.5}  # breaks the vendor's rules for identities
NOWHERE = "redis://127.0.0.1:1/0"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch, redis_url: str) -> Iterator[Any]:
    """Return a function that imports an example with REDIS_URL set."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setenv("REDIS_URL", redis_url)
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if name.partition(".")[0].endswith("_shop"):
            del sys.modules[name]


def charged(client: redis.Redis) -> list[tuple[str, str, dict[str, Any]]]:
    """The events in the buffer."""
    return [(each["identity"], each["evtName"], each["evtData"]) for each in buffered(client)]


@pytest.fixture
def django_client(example: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Django's test client for the example; Django can be set up once in a process.

    Its variable must not outlive the test: Celery would set Django up in every worker after it.
    """
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "django_shop.settings")
    importlib.import_module("django").setup()
    client: Any = importlib.import_module("django.test").Client
    return client()


def test_django_view_sends_after_commit_and_ignores_send_errors(
    django_client: Any, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A committed order has its event in the buffer, a rolled-back one does not, and an order is
    accepted even while Redis is down."""
    order = {"data": ORDER, "content_type": "application/json"}
    invalid = {"data": INVALID_ORDER, "content_type": "application/json"}
    assert django_client.post("/orders", **invalid).status_code == 201
    assert charged(redis_client) == []
    assert django_client.post("/orders", **order).status_code == 201
    assert charged(redis_client) == [("jack", "Charged", {"Amount": 59.5})]
    refused = {"data": {**ORDER, "amount": -1}, "content_type": "application/json"}
    assert django_client.post("/orders", **refused).status_code == 422
    assert len(charged(redis_client)) == 1
    tracking: Any = importlib.import_module("django_shop.tracking")
    tracking.producer.cache_clear()
    monkeypatch.setenv("REDIS_URL", NOWHERE)
    assert django_client.post("/orders", **order).status_code == 201
    assert len(charged(redis_client)) == 1


def test_flask_application_sends_and_reports_errors(
    example: Any, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Orders and profiles are in the buffer; an invalid profile is reported by its field, while an
    invalid event does not fail its order."""
    shop = example("flask_shop")
    client = shop.create_app().test_client()
    assert client.post("/orders", json=INVALID_ORDER).status_code == 201
    assert charged(redis_client) == []
    assert client.post("/orders", json=ORDER).status_code == 201
    assert charged(redis_client) == [("jack", "Charged", {"Amount": 59.5})]
    assert client.put("/profiles/jack", json={"Name": "Jack"}).status_code == 202
    assert buffered(redis_client, "profile")[0]["profileData"] == {"Name": "Jack"}
    refused = client.put("/profiles/jack", json={"Email": 3})
    assert refused.status_code == 422
    assert "profileData.Email" in refused.get_json()["errors"]
    monkeypatch.setenv("REDIS_URL", NOWHERE)
    away = shop.create_app().test_client()
    assert away.post("/orders", json=ORDER).status_code == 201
    assert away.put("/profiles/jack", json={"Name": "Jack"}).status_code == 503


def test_fastapi_application_sends_from_its_event_loop(
    example: Any, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for asyncio, with one producer for the life of the application."""
    with warnings.catch_warnings():
        # Starlette's test client asks for a new client of HTTP; the one it has works as well.
        warnings.simplefilter("ignore")
        test_client: Any = importlib.import_module("fastapi.testclient").TestClient
    shop: ModuleType = example("fastapi_shop")
    with test_client(shop.app) as client:
        assert client.post("/orders", json=INVALID_ORDER).status_code == 201
        assert charged(redis_client) == []
        assert client.post("/orders", json=ORDER).status_code == 201
        assert charged(redis_client) == [("jack", "Charged", {"Amount": 59.5})]
        assert client.put("/profiles/jack", json={"Name": "Jack"}).status_code == 202
        refused = client.put("/profiles/jack", json={"Email": 3})
        assert refused.status_code == 422
        assert "profileData.Email" in refused.json()["errors"]
    monkeypatch.setenv("REDIS_URL", NOWHERE)
    with test_client(shop.app) as client:
        assert client.post("/orders", json=ORDER).status_code == 201
        away = client.put("/profiles/jack", json={"Name": "Jack"})
        assert (away.status_code, away.headers["retry-after"]) == (503, "1")


def test_celery_application_sends_from_its_tasks(
    example: Any, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task sends the row that its argument names, and is retried while Redis is down."""
    shop = example("celery_shop")
    assert shop.send_profile.apply(args=(7,)).successful()
    assert buffered(redis_client, "profile")[0]["profileData"] == {"Name": "Jack Montana"}
    shop.producer.cache_clear()
    monkeypatch.setenv("REDIS_URL", NOWHERE)
    monkeypatch.setattr(shop.send_profile, "max_retries", 0)
    failed = shop.send_profile.apply(args=(7,))
    assert type(failed.result).__name__ == "BufferUnavailable"
    assert "Jack" not in str(failed.result)
