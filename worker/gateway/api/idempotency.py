"""`Idempotency-Key`: a producer may repeat a request, and its records are taken once.

The answer is kept in Redis by the same atomic step that takes the records (`lua/take.lua`): there
is no moment at which one is done and the other is not, whichever process dies. A repeat, even one
that comes at the same time through another gateway, finds the answer and enqueues nothing. Kept
are not the answer's bytes but the verdicts in it: with the fingerprint the same, the rest of the
answer is in the repeated request itself.

What is not kept: refusals of a whole request (full, away, malformed, over the rate), for those are
to be repeated. What ends the promise: 24 hours, and a Redis that loses its last second of writes,
which then loses the records together with the answer.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from ..server.endpoint import Headers
from ..server.errors import HttpError
from .enqueue_request import IdempotencyKey

HEADER = b"idempotency-key"
REPLAYED: Headers = ((b"idempotency-replayed", b"true"),)
_KEY = re.compile(rb"[\x21-\x7e]{1,255}")


def asked_once(
    headers: Mapping[bytes, bytes], producer: str, path: str, query: bytes, body: bytes
) -> IdempotencyKey | None:
    """The key of a request, if it has one; keys of different producers never meet."""
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
