"""`Idempotency-Key`: a client may repeat a request, and its records are enqueued once.

Redis stores the response in the same atomic step that accepts the records. A repeat, even a
concurrent one through another gateway, finds it and enqueues nothing. Only its verdicts are stored:
the rest is in the repeated request. Errors of a whole request are not, because it should be
repeated. The promise ends after 24 hours, or when Redis loses its last second of writes, which then
loses the records together with the response.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

from ..server.endpoint import Headers, HttpError, HttpRequest

HEADER = b"idempotency-key"
REPLAYED: Headers = ((b"idempotency-replayed", b"true"),)
_KEY = re.compile(rb"[\x21-\x7e]{1,255}")


class IdempotencyKey(NamedTuple):
    """The hash that the key is stored under, and the fingerprint of its request."""

    hash: str
    fingerprint: str


def idempotency_key(request: HttpRequest, producer: str, body: bytes) -> IdempotencyKey | None:
    """Return the request's key, if it has one; the keys of two producers are never the same."""
    key = request.headers.get(HEADER)
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        raise HttpError(400, "Idempotency-Key: must be 1 to 255 visible ASCII characters")
    parts = b"\0".join((request.path.encode(), request.query, body))
    return IdempotencyKey(
        hashlib.sha256(producer.encode() + b"\0" + key).hexdigest(),
        hashlib.sha256(parts).hexdigest()[:32],
    )
