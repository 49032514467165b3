"""Authenticate a request, read its body, and enqueue its records: shared by both vendors' APIs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
from redis.asyncio import Redis

from worker.errors import BufferFull, BufferUnavailable
from worker.producer.encoder import EnqueueBatch, RecordEncoder, Rejected, group_records
from worker.settings.destination import Destination
from worker.settings.settings import Settings
from worker.vendors.protocol import Prepared

from ..auth import credentials
from ..auth.api_keys import KeyCache, ProducerKey
from ..auth.credentials import Credentials
from ..auth.rate_limit import RateLimits
from ..server.endpoint import Headers, HttpError, HttpRequest
from ..server.request_body import BodyReader
from ..settings import GatewaySettings
from .enqueuer import REPLAYED, Enqueuer, EnqueueRequest, IdempotencyKey, idempotency_key

TURN_S = 0.005
# One turn is enough for this many ordinary records. Of the requests with more, one at a time takes
# turns, so that all others wait for one turn only, however many requests there are.
FEW = 100
FULL_RETRY_S = 5.0  # a buffer is emptied a batch at a time
UNAVAILABLE_RETRY_S = 1.0
_LOST = (
    "Redis did not answer: either all records were accepted or none;"
    " an Idempotency-Key makes a repeat safe"
)
_LOST_WITH_KEY = (
    "Redis did not answer: repeat with the same Idempotency-Key, nothing is accepted twice"
)

# Returns a record prepared, or None to skip it; raises InvalidRecord.
Prepare = Callable[[Any], Prepared | None]


@dataclass(frozen=True, slots=True)
class AuthorizedRequest:
    """A request that may enqueue, with its body, and its idempotency key if it has one."""

    http: HttpRequest
    destination: Destination
    body: bytes
    key: IdempotencyKey | None


class RecordValidator:
    """Validates in turns, so that the event loop serves other requests in between.

    A request may carry a thousand records: 25 ms of ordinary ones, half a second of the worst that
    a body has room for.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._large = asyncio.Lock()

    async def validate(
        self, destination: Destination, records: Sequence[Any], prepare: Prepare
    ) -> tuple[list[EnqueueBatch], list[Rejected]]:
        """Group the valid records and return the rejected ones, as `group_records` does."""
        batches: list[EnqueueBatch] = []
        rejections: list[Rejected] = []
        async with self._large if len(records) > FEW else nullcontext():
            turn_ends = self._clock() + TURN_S
            for batch in group_records(destination, records, prepare, rejections):
                if batch is not None:
                    batches.append(batch)
                elif self._clock() > turn_ends:
                    await asyncio.sleep(0)
                    turn_ends = self._clock() + TURN_S
        return batches, rejections


class RequestHandler:
    """Handles the requests of one event loop."""

    def __init__(self, settings: Settings, gateway: GatewaySettings, client: Redis) -> None:
        self.encoder = RecordEncoder(settings)
        for each in settings.destinations.values():
            self.encoder.load_schema(each)  # now: a request that waited for it could be overtaken
        self.bodies = BodyReader(gateway)
        self._accept_vendor_credentials = gateway.accept_vendor_credentials
        self._keys = KeyCache(client)
        self._rates = RateLimits(gateway.rate_records_per_s, gateway.rate_burst_records)
        self._validator = RecordValidator()
        self._enqueuers = {
            name: Enqueuer(client, each, gateway.max_waiting_bytes)
            for name, each in settings.destinations.items()
        }

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
        key = idempotency_key(request, producer.name, body)
        return AuthorizedRequest(request, destination, body, key)

    async def validate(
        self, request: AuthorizedRequest, records: Sequence[Any], prepare: Prepare | None = None
    ) -> tuple[list[EnqueueBatch], list[Rejected]]:
        """Count the records against the producer's rate, and validate them.

        They are in the vendor's shape, unless ``prepare`` knows theirs. Returns the valid ones,
        kind by kind, and the rejected ones, in order.
        """
        info, destination = request.http.info, request.destination
        info.records = len(records)
        self._rates.charge(info.producer, len(records))
        batches, rejections = await self._validator.validate(
            destination, records, prepare or partial(self.encoder.prepare, destination)
        )
        info.rejected = len(rejections)
        return batches, rejections

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
        records = EnqueueRequest(batches, key, orjson.dumps(verdicts) if key else b"")
        try:
            stored = await self._enqueuers[request.destination.name].enqueue(records)
        except BufferFull as error:
            text = f"No room: {error}; nothing was accepted"
            raise HttpError(503, text, retry_after_s=FULL_RETRY_S) from error
        except BufferUnavailable as error:
            text = "Redis is unavailable: nothing was accepted"
            if error.sent:
                text = _LOST if key is None else _LOST_WITH_KEY
            raise HttpError(503, text, retry_after_s=UNAVAILABLE_RETRY_S) from error
        return (verdicts, ()) if stored is None else (orjson.loads(stored), REPLAYED)


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
