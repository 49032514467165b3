"""Authenticate a request, read its body, and enqueue its records: shared by both vendors' APIs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from worker.errors import BufferFull, BufferUnavailable
from worker.producer.encoder import EnqueueBatch, RecordEncoder
from worker.settings.destination import Destination

from ..auth import credentials
from ..auth.api_keys import ProducerKey
from ..auth.credentials import Credentials
from ..auth.key_cache import KeyCache
from ..auth.rate_limit import RateLimits
from ..server.endpoint import Headers, HttpRequest
from ..server.errors import HttpError
from ..server.request_body import BodyReader
from .enqueue_request import EnqueueRequest
from .enqueuer import Enqueuer, KeyReused
from .idempotency import REPLAYED, IdempotencyKey, idempotency_key
from .validation import RecordValidator

FULL_RETRY_S = 5.0  # a buffer is emptied a batch at a time
UNAVAILABLE_RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class AuthorizedRequest:
    """A request that may enqueue, with its body, and its idempotency key if it has one."""

    http: HttpRequest
    destination: Destination
    body: bytes
    key: IdempotencyKey | None


class RequestHandler:
    """Handles the requests of one event loop."""

    def __init__(
        self,
        encoder: RecordEncoder,
        keys: KeyCache,
        rates: RateLimits,
        bodies: BodyReader,
        enqueuers: Mapping[str, Enqueuer],
        *,
        accept_vendor_credentials: bool,
    ) -> None:
        self.encoder = encoder
        self.bodies = bodies
        self.validator = RecordValidator()
        self._keys = keys
        self._rates = rates
        self._enqueuers = enqueuers
        self._accept_vendor_credentials = accept_vendor_credentials

    async def authenticate(
        self, presented: Credentials, candidates: Sequence[Destination]
    ) -> ProducerKey | None:
        """Return the producer with these credentials: a key, or, where allowed, the vendor's."""
        key = await self._keys.find(presented.secret)
        if key is not None or not self._accept_vendor_credentials:
            return key
        for each in candidates:
            if credentials.are_the_vendors(presented, each):
                name = f"credentials of {each.name}"  # no key can have a name with a space
                return ProducerKey(name, b"", 0, frozenset((each.name,)))
        return None

    async def authorize(
        self, request: HttpRequest, producer: ProducerKey, destination: Destination
    ) -> AuthorizedRequest:
        """Read the body of a request that the producer may make; HttpError if it may not."""
        request.info.producer, request.info.destination = producer.name, destination.name
        if not producer.may_send_to(destination.name):
            raise HttpError(403, f"The key may not send to {destination.name}")
        self._rates.admit(producer.name)
        body = await self.bodies.read(request.headers, request.receive)
        key = idempotency_key(request.headers, producer.name, request.path, request.query, body)
        return AuthorizedRequest(request, destination, body, key)

    def charge(self, request: AuthorizedRequest, records: int) -> None:
        """Count the request's records against the producer's rate."""
        request.http.info.records = records
        self._rates.charge(request.http.info.producer, records)

    async def enqueue(
        self, request: AuthorizedRequest, batches: Sequence[EnqueueBatch], verdicts: Any
    ) -> tuple[Any, Headers]:
        """Enqueue a request's valid records: all, or none and HttpError.

        Returns what to answer and the headers that go with it: the request's own ``verdicts``,
        which are stored for its repeats, or those of a first request with the same key, as JSON
        has them.
        """
        key = request.key
        if not batches and key is None:
            return verdicts, ()
        stored = await self._enqueue(
            request, EnqueueRequest(batches, key, orjson.dumps(verdicts) if key else b"")
        )
        return (verdicts, ()) if stored is None else (orjson.loads(stored), REPLAYED)

    async def _enqueue(self, request: AuthorizedRequest, records: EnqueueRequest) -> bytes | None:
        try:
            return await self._enqueuers[request.destination.name].enqueue(records)
        except KeyReused:
            raise HttpError(
                422, "Idempotency-Key: was used with another request; nothing was accepted"
            ) from None
        except BufferFull as error:
            text = f"No room: {error}; nothing was accepted"
            raise HttpError(503, text, retry_after_s=FULL_RETRY_S) from error
        except BufferUnavailable as error:
            text = _unavailable(error, request.key)
            raise HttpError(503, text, retry_after_s=UNAVAILABLE_RETRY_S) from error


def _unavailable(error: BufferUnavailable, key: IdempotencyKey | None) -> str:
    """Say where the records are."""
    if not error.sent:
        return "Redis is unavailable: nothing was accepted"
    if key is not None:
        return (
            "Redis did not answer: repeat with the same Idempotency-Key, nothing is accepted twice"
        )
    return (
        "Redis did not answer: either all records were accepted or none;"
        " an Idempotency-Key makes a repeat safe"
    )


def find_destination(destinations: Sequence[Destination], name: str) -> Destination | None:
    """Return the destination that a client's account id or project token means.

    It is a destination's own name, or the account that the destination is set to. The gateway needs
    no vendor's secrets: if there is only one destination, and its account is not known, every name
    means that one.
    """
    for each in destinations:
        if name in {each.name, each.account.public_id} and name:
            return each
    if len(destinations) == 1 and not destinations[0].account.public_id:
        return destinations[0]
    return None
