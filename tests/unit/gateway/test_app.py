"""What the gateway's app answers before any key or Redis is needed."""

from __future__ import annotations

import pytest
import redis

from support.gateway import GatewayResponse, LocalGateway, request_app


def gateway_without_redis(**environ: str) -> LocalGateway:
    """Return a gateway in this process that never connects to a Redis."""
    return LocalGateway("redis://redis.invalid:1", "no-key", redis.Redis(), **environ)


@pytest.fixture
def gateway() -> LocalGateway:
    """Return such a gateway with default settings."""
    return gateway_without_redis()


def test_unknown_method_or_path_answers_405_or_404(gateway: LocalGateway) -> None:
    """The answers have Allow and the vendor's shape, and do not repeat the path."""

    async def talk(gateway: LocalGateway) -> list[GatewayResponse]:
        return [
            await request_app(gateway.app, "GET", "/1/upload"),
            await request_app(gateway.app, "POST", "/1/someone@example.com"),
        ]

    wrong, unknown = gateway.run(talk)
    assert (wrong.status, wrong.headers["allow"]) == (405, "POST")
    assert unknown.status == 404
    assert unknown.json() == {"status": "fail", "error": "Not found", "code": 404}


@pytest.mark.parametrize("target", ["/healthz", "/1/upload", "/nowhere"])
def test_every_response_has_the_security_headers(gateway: LocalGateway, target: str) -> None:
    """No sniffing, no framing, no caching, no referrer, also on errors."""
    headers = gateway.run(lambda gateway: request_app(gateway.app, "GET", target)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]


def test_cors_headers_are_sent_only_to_configured_origins() -> None:
    """Without the setting no CORS header is sent; with it, one for that origin alone."""
    asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}

    async def talk(gateway: LocalGateway) -> list[str | None]:
        answers = [
            await request_app(
                gateway.app, "OPTIONS", "/1/upload", headers={**asked, "Origin": origin}
            )
            for origin in ("https://shop.example", "https://other.example")
        ]
        return [each.headers.get("access-control-allow-origin") for each in answers]

    assert gateway_without_redis().run(talk) == [None, None]
    allowed = gateway_without_redis(INGEST_GATEWAY_CORS_ORIGINS="https://shop.example")
    assert allowed.run(talk) == ["https://shop.example", None]


@pytest.mark.parametrize("path", ["/1/upload/", "/track/v2/projects/bloomreach/batch/"])
def test_path_with_a_trailing_slash_is_not_redirected(gateway: LocalGateway, path: str) -> None:
    """A path with a slash too many is not found: a redirect would lead away from TLS."""
    answer = gateway.run(
        lambda gateway: request_app(
            gateway.app, "POST", path, headers={"Host": "elsewhere.example"}
        )
    )
    assert answer.status == 404
    assert "location" not in answer.headers
