"""The parts of a worker process, put together once, after it has started (never at import)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from ..buffer.buffer import Buffer
from ..buffer.claims import Claim
from ..buffer.records import stored_body
from ..connections.clients import redis_url, worker_client
from ..delivery.deliverer import Deliverer, RequestTiming
from ..delivery.drain import Dispatch, Drain
from ..errors import InvalidRecord
from ..settings.destination import Destination
from ..settings.settings import Settings
from ..telemetry.logs import get_logger
from ..telemetry.tracing import Spans, spans
from ..vendors.responses import json_object
from ..vendors.transport import Transport

log = get_logger(__name__)

# A request in flight when the process is asked to stop may take this long; one not answered then is
# settled as ambiguous. With the settlement it fits into a grace period of 25 s.
STOP_WITHIN_S = 20.0


def _identity_of(destination: Destination) -> Callable[[bytes], bytes]:
    """Return a function that finds the identity of a stored record by its schema."""
    schema = destination.account.schema()

    def identity(stored: bytes) -> bytes:
        try:
            return schema.prepare(json_object(stored_body(stored)) or {}, now_s=0).identity
        except InvalidRecord:
            return b""  # accepted under older rules; treat all such records as one identity

    return identity


def traced_by(spans: Spans, destination: str) -> Callable[[Claim, RequestTiming], None]:
    """Return a callback that makes a span of each request of a deliverer."""

    def traced(claim: Claim, request: RequestTiming) -> None:
        spans.request(
            request.label,
            request.began_ns,
            request.took_s,
            destination=destination,
            kind=claim.kind,
            records=claim.size,
            attempt=claim.attempt + 1,
            batch=claim.batch,
        )

    return traced


@dataclass(frozen=True, slots=True)
class DestinationRuntime:
    """What a worker needs for one destination."""

    destination: Destination
    buffer: Buffer
    drain: Drain
    deliverer: Deliverer
    transport: Transport


class Runtime:
    """The parts of every enabled destination, by name, and the Redis client that they share."""

    def __init__(self, settings: Settings, dispatch: Dispatch) -> None:
        self.settings = settings
        self.client: redis.Redis = worker_client(redis_url(settings))
        self._stopping = threading.Event()
        self._spans = spans()
        self.destinations: Mapping[str, DestinationRuntime] = {
            each.name: self._parts(each, dispatch) for each in settings.enabled()
        }

    def _parts(self, destination: Destination, dispatch: Dispatch) -> DestinationRuntime:
        buffer = Buffer(self.client, destination)
        buffer.repartition()
        if buffer.is_evicting():
            log.error(
                "Redis evicts keys, and records with them, when it is full: "
                "set its maxmemory-policy to noeviction",
                destination=destination.name,
            )
        drain = Drain(destination, buffer, dispatch)
        vendor = destination.account.adapter(destination.base_url)
        transport = Transport(
            vendor.base_url,
            timeout_s=destination.request_timeout_s,
            connections=destination.concurrency_limit + 1,
        )
        deliverer = Deliverer(
            destination,
            buffer,
            vendor,
            transport,
            stopping=self._stopping.is_set,
            wait=self._stopping.wait,
            on_more_capacity=drain.dispatch_ready,
            identity=_identity_of(destination),
            on_request=traced_by(self._spans, destination.name) if self._spans else None,
        )
        return DestinationRuntime(destination, buffer, drain, deliverer, transport)

    @property
    def stopping(self) -> bool:
        return self._stopping.is_set()

    def stop(self) -> None:
        """Send nothing new, and limit what requests in flight may take."""
        self._stopping.set()
        for parts in self.destinations.values():
            parts.transport.stop_by(STOP_WITHIN_S)

    def close(self) -> None:
        """Release claimed batches that were not begun, and close every connection.

        It does not wait for a Redis that is away: leases expire on their own.
        """
        self.client.set_retry(Retry(NoBackoff(), 1))
        try:
            for parts in self.destinations.values():
                parts.buffer.recover(unbegun=True)
        except RedisError as error:
            log.warning(
                "could not release claimed batches: they wait for their leases",
                error=type(error).__name__,
            )
        self.abandon()

    def abandon(self) -> None:
        """Close every connection, without a call to Redis."""
        for parts in self.destinations.values():
            parts.transport.close()
        if self._spans:
            self._spans.close()
        self.client.close()
