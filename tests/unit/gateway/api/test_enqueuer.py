"""The key of a request."""

from __future__ import annotations

import asyncio

import pytest
from starlette.types import Message

from worker.gateway.api.enqueuer import IdempotencyKey, idempotency_key
from worker.gateway.server.endpoint import HttpError, HttpRequest

REQUEST = ("/1/upload", b"", b"{}")


def key_of(
    header: bytes | None, producer: str, path: str, query: bytes, body: bytes
) -> IdempotencyKey | None:
    """Return the key of a request with these parts."""
    scope = {"method": "POST", "path": path, "query_string": query}
    headers = [] if header is None else [(b"idempotency-key", header)]
    request = HttpRequest({**scope, "headers": headers}, asyncio.Queue[Message]().get)
    return idempotency_key(request, producer, body)


def test_idempotency_key_without_the_header_is_none() -> None:
    """A request without a key is enqueued as often as it is sent."""
    assert key_of(None, "shop", *REQUEST) is None


@pytest.mark.parametrize("key", [b"", b"a b", b"x" * 256, "é".encode()])
def test_idempotency_key_that_is_not_visible_ascii_raises_400(key: bytes) -> None:
    """Empty, with a space, too long, or not ASCII."""
    with pytest.raises(HttpError) as raised:
        key_of(key, "shop", *REQUEST)
    assert raised.value.status == 400


@pytest.mark.parametrize(
    ("producer", "request_parts", "same_hash", "same_fingerprint"),
    [
        ("shop", REQUEST, True, True),
        ("other", REQUEST, False, True),
        ("shop", ("/1/upload", b"", b"[]"), True, False),
        ("shop", ("/1/upload", b"dryRun=0", b"{}"), True, False),
        ("shop", ("/1", b"", b"{}"), True, False),
    ],
)
def test_idempotency_key_depends_on_the_producer_and_the_request(
    producer: str, request_parts: tuple[str, bytes, bytes], same_hash: bool, same_fingerprint: bool
) -> None:
    """The hash is the key's at a producer; the fingerprint is the path's, query's and body's."""
    first = key_of(b"k1", "shop", *REQUEST)
    second = key_of(b"k1", producer, *request_parts)
    assert first is not None
    assert second is not None
    assert (first.hash == second.hash) is same_hash
    assert (first.fingerprint == second.fingerprint) is same_fingerprint
