"""`Idempotency-Key`: a client may repeat a request, and its records are enqueued once.

The response is stored in Redis by the same atomic step that accepts the records:
whichever process dies, one is never done without the other. A repeat, even a concurrent one through
another gateway, finds the response and enqueues nothing. Only the verdicts in it are stored: with
the same fingerprint, the rest is in the repeated request itself.

Errors of a whole request (full, unavailable, malformed, over the rate) are not stored, because such
requests should be repeated. The promise ends after 24 hours, or when Redis loses its last second of
writes, which then loses the records together with the response.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..server.endpoint import Headers
from ..server.errors import HttpError

HEADER = b"idempotency-key"
REPLAYED: Headers = ((b"idempotency-replayed", b"true"),)
_KEY = re.compile(rb"[\x21-\x7e]{1,255}")


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """The hash that the key is stored under, and the fingerprint of its request."""

    hash: str
    fingerprint: str


def idempotency_key(
    headers: Mapping[bytes, bytes], producer: str, path: str, query: bytes, body: bytes
) -> IdempotencyKey | None:
    """Return the request's key, if it has one; the keys of two producers are never the same."""
    key = headers.get(HEADER)
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        raise HttpError(400, "Idempotency-Key: must be 1 to 255 visible ASCII characters")
    request = hashlib.sha256(b"\0".join((path.encode(), query, body)))
    return IdempotencyKey(
        hash=hashlib.sha256(producer.encode() + b"\0" + key).hexdigest(),
        fingerprint=request.hexdigest()[:32],
    )
