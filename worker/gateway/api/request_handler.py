"""What both vendors' doors share: who is asking, for which destination, and the way to Redis."""

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
from ..server.endpoint import Headers, Request
from ..server.errors import HttpError
from ..server.request_body import BodyReader
from .enqueue_request import EnqueueRequest, IdempotencyKey
from .enqueuer import Enqueuer, KeyReused
from .idempotency import REPLAYED, asked_once
from .validation import RecordValidator

FULL_RETRY_S = 5.0  # a buffer is emptied a batch at a time
AWAY_RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class AuthorizedRequest:
    """A request that was let in, with its body read; ``once`` if it has an idempotency key."""

    request: Request
    destination: Destination
    body: bytes
    once: IdempotencyKey | None


class RequestHandler:
    """One for each event loop."""

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

    async def known(
        self, shown: Credentials, candidates: Sequence[Destination]
    ) -> ProducerKey | None:
        """Whose credentials these are: a producer's key, or, where allowed, the vendor's own."""
        key = await self._keys.find(shown.secret)
        if key is not None or not self._accept_vendor_credentials:
            return key
        for each in candidates:
            if credentials.are_the_vendors(shown, each):
                name = f"credentials of {each.name}"  # no key can have a name with a space
                return ProducerKey(name, b"", 0, frozenset((each.name,)))
        return None

    async def let_in(
        self, request: Request, producer: ProducerKey, destination: Destination
    ) -> AuthorizedRequest:
        """Read the body of a request that may enter; Refused for one that may not."""
        request.seen.producer, request.seen.destination = producer.name, destination.name
        if not producer.may_send_to(destination.name):
            raise HttpError(403, f"The key may not send to {destination.name}")
        self._rates.let_in(producer.name)
        body = await self.bodies.read(request.headers, request.receive)
        once = asked_once(request.headers, producer.name, request.path, request.query, body)
        return AuthorizedRequest(request, destination, body, once)

    def charge(self, authorized: AuthorizedRequest, records: int) -> None:
        """Count the request's records."""
        authorized.request.seen.records = records
        self._rates.charge(authorized.request.seen.producer, records)

    async def enqueue(
        self, authorized: AuthorizedRequest, calls: Sequence[EnqueueBatch], verdicts: Any
    ) -> tuple[Any, Headers]:
        """Put a request's valid records into Redis: all, or none and Refused.

        Returns what to tell and the headers that go with it: the request's own ``verdicts``, which
        are kept for its repeats, or those of a first request with the same key, as JSON has them.
        """
        if not calls and authorized.once is None:
            return verdicts, ()
        request = EnqueueRequest(
            calls, authorized.once, orjson.dumps(verdicts) if authorized.once else b""
        )
        kept = await self._taken(authorized, request)
        return (verdicts, ()) if kept is None else (orjson.loads(kept), REPLAYED)

    async def _taken(self, authorized: AuthorizedRequest, request: EnqueueRequest) -> bytes | None:
        try:
            return await self._enqueuers[authorized.destination.name].take(request)
        except KeyReused:
            raise HttpError(
                422, "Idempotency-Key: was used with another request; nothing was accepted"
            ) from None
        except BufferFull as error:
            text = f"No room: {error}; nothing was accepted"
            raise HttpError(503, text, retry_after_s=FULL_RETRY_S) from error
        except BufferUnavailable as error:
            raise HttpError(503, _away(error, authorized), retry_after_s=AWAY_RETRY_S) from error


def _away(error: BufferUnavailable, authorized: AuthorizedRequest) -> str:
    """The truth about where the records are."""
    if not error.sent:
        return "Redis is away: nothing was accepted"
    if authorized.once is not None:
        return "Redis did not answer: repeat with the same Idempotency-Key, nothing is taken twice"
    return (
        "Redis did not answer: the records were accepted all or not at all, and which is not known;"
        " an Idempotency-Key makes a repeat safe"
    )


def named(destinations: Sequence[Destination], name: str) -> Destination | None:
    """Return the destination that a client's account id or project token means.

    It is a destination's own name, or the account that the destination is set to. Where there is
    only one and the gateway does not know its account - it needs no vendor's secrets - every name
    means that one.
    """
    for each in destinations:
        if name in {each.name, each.account.public_id} and name:
            return each
    if len(destinations) == 1 and not destinations[0].account.public_id:
        return destinations[0]
    return None
