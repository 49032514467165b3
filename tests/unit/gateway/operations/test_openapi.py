"""The OpenAPI document."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.routing import Route

from worker.gateway.app import build_components, operations, vendors
from worker.gateway.operations.openapi import document
from worker.gateway.settings import GatewaySettings

REDIS = {"REDIS_URL": "redis://127.0.0.1:1/0"}


def test_document_lists_exactly_the_routes() -> None:
    """Every route is in /openapi.json with its method, and nothing else is."""

    async def routes() -> set[tuple[str, str]]:
        components = build_components(REDIS)
        made = [*vendors(components), *operations(components)]
        endpoints: list[Any] = [route.app for route in made if isinstance(route, Route)]
        assert len(endpoints) == len(made)
        return {(gateway.path, gateway.method.lower()) for gateway in endpoints}

    paths = document(GatewaySettings())["paths"]
    assert {(path, method) for path, methods in paths.items() for method in methods} == (
        asyncio.run(routes())
    )


def test_document_declares_the_replay_header_wherever_a_key_is_accepted() -> None:
    """Exactly the operations with an Idempotency-Key declare Idempotency-Replayed."""
    paths = document(GatewaySettings())["paths"].values()
    takes, says = [], []
    for each in (operation for path in paths for operation in path.values()):
        takes.append(
            "Idempotency-Key" in {each_of["name"] for each_of in each.get("parameters", ())}
        )
        says.append("Idempotency-Replayed" in each["responses"]["200"].get("headers", ()))
    assert takes == says
    assert any(takes)
