"""One HTTP request's records as Redis accepts them, and several in one call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from worker.buffer.accept import partition_arguments
from worker.producer.encoder import EnqueueBatch
from worker.settings.destination import Destination

from .idempotency import IdempotencyKey

RESPONSES_KEPT_MS = 24 * 3600 * 1000
# A call with a lost answer is repeated once, immediately: after the timeout (5 s at most).
CALLS_KEPT_MS = 10_000


@dataclass(frozen=True, slots=True)
class EnqueueRequest:
    """One request's valid records, kind by kind: Redis accepts all of them, or none.

    ``response`` is stored with the records, for repeats with the same key.
    """

    batches: Sequence[EnqueueBatch]
    key: IdempotencyKey | None = None
    response: bytes = b""
    size_bytes: int = field(init=False)
    records: int = field(init=False)

    def __post_init__(self) -> None:
        """Count once what the queue reads repeatedly."""
        stored = [record for batch in self.batches for record in batch.stored]
        object.__setattr__(self, "size_bytes", sum(map(len, stored)) + len(self.response))
        object.__setattr__(self, "records", len(stored))


def arguments(
    destination: Destination, token: str, requests: Sequence[EnqueueRequest]
) -> list[Any]:
    """Return the arguments of `accept_requests`."""
    limits = (destination.max_buffered, CALLS_KEPT_MS, RESPONSES_KEPT_MS)
    args: list[Any] = [token, *limits, len(requests)]
    for request in requests:
        key = request.key
        if key is None:
            args += ("", "", "", len(request.batches))
        else:
            args += (key.hash, key.fingerprint, request.response, len(request.batches))
        for batch in request.batches:
            args += partition_arguments(destination, batch.kind, batch.identities)
            args += (len(batch.stored), *batch.stored)
    return args
