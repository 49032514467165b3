"""What one request asks of Redis, and how several are asked for in one call (`lua/take.lua`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from worker.buffer.accept import identity_hash
from worker.producer.encoder import EnqueueBatch
from worker.settings.destination import Destination

ACCEPTED, FULL, MEMORY_FULL, OTHER_REQUEST = 1, -1, -2, -3
ANSWERS_KEPT_MS = 24 * 3600 * 1000
# A call whose answer was lost is asked for once more, at once: after the timeout (5 s at most).
CALLS_KEPT_MS = 10_000


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """An idempotency key: the hash it is kept under, and the fingerprint of its request."""

    hash: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class EnqueueRequest:
    """One request's valid records, kind by kind: Redis takes all of them, or none.

    ``answer`` is what a repeat with the same key is told; it is kept when the records are taken.
    """

    calls: Sequence[EnqueueBatch]
    once: IdempotencyKey | None = None
    answer: bytes = b""
    size_bytes: int = field(init=False)
    records: int = field(init=False)

    def __post_init__(self) -> None:
        """Count once what the queue looks at again and again."""
        stored = [record for call in self.calls for record in call.stored]
        object.__setattr__(self, "size_bytes", sum(map(len, stored)) + len(self.answer))
        object.__setattr__(self, "records", len(stored))


def arguments(
    destination: Destination, token: str, requests: Sequence[EnqueueRequest]
) -> list[Any]:
    """The arguments of `take`."""
    args: list[Any] = [
        token,
        CALLS_KEPT_MS,
        ANSWERS_KEPT_MS,
        destination.max_buffered,
        len(requests),
    ]
    for request in requests:
        once = request.once
        if once is None:
            args += ("", "", "", len(request.calls))
        else:
            args += (once.hash, once.fingerprint, request.answer, len(request.calls))
        for call in request.calls:
            kind = destination.kinds[call.kind]
            hashes = b"".join(map(identity_hash, call.identities)) if kind.ordered else b""
            args += (call.kind, kind.partitions, hashes, len(call.stored), *call.stored)
    return args
