"""The parts of a worker process, put together once, after it was started (never at import)."""

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

# A request under way when the process is told to stop may go on so long; what is not answered then
# is settled as ambiguous. With the settlement it fits into a grace period of 25 s.
STOP_WITHIN_S = 20.0


def _identity_of(destination: Destination) -> Callable[[bytes], bytes]:
    """Whose a stored record is, as its schema told when it was accepted."""
    schema = destination.account.schema()

    def identity(stored: bytes) -> bytes:
        try:
            return schema.prepare(json_object(stored_body(stored)) or {}, now_s=0).identity
        except InvalidRecord:
            return b""  # accepted under other rules: taken for the same as all such

    return identity


def traced_by(spans: Spans, destination: str) -> Callable[[Claim, RequestTiming], None]:
    """Return what a deliverer calls after each request, to make a span of it."""

    def traced(claim: Claim, request: RequestTiming) -> None:
        spans.request(
            destination,
            claim.kind,
            batch=claim.batch,
            records=claim.size,
            attempt=claim.attempt + 1,
            answer=request.label,
            began_ns=request.began_ns,
            took_s=request.took_s,
        )

    return traced


@dataclass(frozen=True, slots=True)
class DestinationRuntime:
    """One destination's parts."""

    destination: Destination
    buffer: Buffer
    drain: Drain
    deliverer: Deliverer
    transport: Transport


class Runtime:
    """Everything a worker process needs, for every enabled destination."""

    def __init__(self, settings: Settings, ask: Dispatch) -> None:
        self.settings = settings
        self.client: redis.Redis = worker_client(redis_url(settings))
        self._stopping = threading.Event()
        self._spans = spans()
        self.lines: Mapping[str, DestinationRuntime] = {
            each.name: self._line(each, ask) for each in settings.enabled()
        }

    def _line(self, destination: Destination, ask: Dispatch) -> DestinationRuntime:
        buffer = Buffer(self.client, destination)
        buffer.repartition()
        if buffer.is_evicting():
            log.error(
                "Redis evicts keys when it is full, and records with them: "
                "set its maxmemory-policy to noeviction",
                destination=destination.name,
            )
        drain = Drain(destination, buffer, ask)
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
        """Whether the process was told to stop."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Send nothing new, and let what is under way end soon."""
        self._stopping.set()
        for line in self.lines.values():
            line.transport.stop_by(STOP_WITHIN_S)

    def close(self) -> None:
        """Give back what nobody began, and close every connection.

        A Redis that is away is not waited for: leases run out by themselves.
        """
        self.client.set_retry(Retry(NoBackoff(), 1))
        try:
            for line in self.lines.values():
                line.buffer.recover(unbegun=True)
        except RedisError as error:
            log.warning("what nobody began waits for its lease", error=type(error).__name__)
        self.abandon()

    def abandon(self) -> None:
        """Close every connection, and ask nothing of anybody."""
        for line in self.lines.values():
            line.transport.close()
        if self._spans:
            self._spans.close()
        self.client.close()
