"""A destination's real parts, from buffer to socket, for tests to drive by hand."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest
import redis

from support.polling import PATIENCE_S, poll_until
from support.stored import put
from support.vendor import LoopbackVendor
from worker.buffer import keys
from worker.buffer.buffer import Buffer
from worker.buffer.records import new_id, pack, stored_body
from worker.buffer.status import DestinationStatus, KindCounts
from worker.delivery.deliverer import Deliverer, Delivery
from worker.delivery.drain import Dispatch, Drain
from worker.settings.destination import Destination, KindSettings
from worker.vendors.clevertap.account import CleverTapAccount
from worker.vendors.clevertap.upload import CleverTap
from worker.vendors.protocol import Kind
from worker.vendors.transport import Transport

PASSCODE = "s3cret-passcode"
ACCOUNT = "TEST-ACC-OUNT"
# Small numbers, so that what takes minutes in production takes a test part of a second.
QUICK = Destination(
    name="main",
    account=CleverTapAccount(),
    kinds={Kind.EVENT: KindSettings(1000), Kind.PROFILE: KindSettings(100, partitions=8)},
    max_wait_s=0.0,
    request_timeout_s=20.0,
    lease_s=60.0,
    backoff_base_s=0.01,
    backoff_cap_s=0.05,
)


def identities(size: int, prefix: str = "i") -> list[str]:
    """So many identities."""
    return [f"{prefix}{number}" for number in range(size)]


def stored_event(identity: str, filler: str = "") -> bytes:
    """A stored event of one identity; ``filler`` makes it large."""
    body = {"identity": identity, "type": "event", "evtName": "Viewed", "ts": 1_700_000_000}
    return pack(new_id(), "20231114", "Viewed", orjson.dumps({**body, "evtData": {"x": filler}}))


def stored_profile(identity: str, number: int = 0) -> bytes:
    """A stored profile update of one identity."""
    body = {"identity": identity, "type": "profile", "profileData": {"Number": number}}
    return pack(new_id(), "20231114", "", orjson.dumps(body))


def identity_in(stored: bytes) -> bytes:
    """Return the identity of a stored record."""
    identity: str = orjson.loads(stored_body(stored))["identity"]
    return identity.encode()


class Pipeline:
    """One destination: its buffer in Redis, its deliverer, and the loopback vendor."""

    def __init__(self, client: redis.Redis, vendor: LoopbackVendor, **changed: Any) -> None:
        self.destination = replace(QUICK, base_url=vendor.base_url, **changed)
        self.client = client
        self.vendor = vendor
        self.buffer = Buffer(client, self.destination)
        self.transport = Transport(vendor.base_url, timeout_s=self.destination.request_timeout_s)
        adapter = CleverTap(vendor.base_url, ACCOUNT, PASSCODE)
        self.deliverer = Deliverer(
            self.destination, self.buffer, adapter, self.transport, identity=identity_in
        )
        self.probes = 0
        self.drain = Drain(
            self.destination, self.buffer, Dispatch(deliver=lambda _, __: None, probe=self._probe)
        )

    def _probe(self, _: Destination) -> None:
        self.probes += 1

    def accept(self, names: Sequence[str], filler: str = "") -> None:
        """Take an event of each identity into the buffer."""
        stored = [stored_event(name, filler) for name in names]
        put(self.buffer, Kind.EVENT, [name.encode() for name in names], stored)

    def accept_profiles(self, names: Sequence[str]) -> None:
        """Take a profile update of each identity into the buffer, numbered in their order."""
        stored = [stored_profile(name, number) for number, name in enumerate(names)]
        put(self.buffer, Kind.PROFILE, [name.encode() for name in names], stored)

    def step(self) -> Delivery | None:
        """Deliver one batch, if one may be claimed now."""
        claim = self.buffer.claim(begun=True)
        if claim is None:
            return None
        return Delivery(self.destination.name).plus(claim, self.deliverer.deliver(claim))

    def deliver(
        self, deadline_s: float = PATIENCE_S, until: Callable[[], object] | None = None
    ) -> None:
        """Step until nothing is on its way, or until the condition given."""

        def done() -> bool:
            while self.step() is not None:
                if until is not None and until():
                    return True
            return bool(until()) if until else self.open == 0

        poll_until(done, deadline_s, "everything is delivered", every_s=0.005)

    def status(self) -> DestinationStatus:
        """Where the records are; that they add up is asserted each time."""
        status = self.buffer.status()
        for kind, places in status.kinds.items():
            assert places.adds_up, (kind, places)
        return status

    @property
    def open(self) -> int:
        """The number of records on their way."""
        return sum(places.open for places in self.status().kinds.values())

    @property
    def events(self) -> KindCounts:
        """Where the events are."""
        return self.status().kinds[Kind.EVENT]

    def dead(self, kind: str = Kind.EVENT) -> list[dict[str, str]]:
        """The dead letters, with the identity of each record."""
        found = self._stream(keys.dead(self.destination.name, kind))
        for fields in found:
            record = orjson.loads(fields.pop("record").partition("\n")[2])
            fields["identity"] = record["identity"]
        return found

    def journal(self) -> list[dict[str, str]]:
        """What is kept of the last settlements."""
        return self._stream(keys.journal(self.destination.name))

    def _stream(self, key: str) -> list[dict[str, str]]:
        entries: Any = self.client.xrange(key)
        return [
            {name.decode(): value.decode("latin-1") for name, value in entry.items()}
            for _, entry in entries
        ]

    def batches(self) -> list[dict[str, Any]]:
        """What is known of each claimed batch."""
        return [orjson.loads(raw) for raw in self.client.hvals(keys.batches(self.destination.name))]

    def state(self, field: str) -> str | None:
        """One field of the destination's state."""
        value: Any = self.client.hget(keys.state(self.destination.name), field)
        return None if value is None else value.decode()

    def age(self, seconds: float) -> None:
        """Make every claimed batch so many seconds older."""
        key = keys.batches(self.destination.name)
        for batch_id, raw in self.client.hgetall(key).items():
            batch = orjson.loads(raw)
            batch["first"] -= int(seconds * 1000)
            self.client.hset(key, mapping={batch_id: orjson.dumps(batch)})

    def close(self) -> None:
        """Close the connections."""
        self.transport.close()


PipelineFactory = Callable[..., Pipeline]


@pytest.fixture
def pipeline_of(redis_client: redis.Redis, vendor: LoopbackVendor) -> Iterator[PipelineFactory]:
    """Makes a pipeline to the `vendor` (or another), with settings changed as the test needs."""
    made: list[Pipeline] = []

    def make(to: LoopbackVendor | None = None, **changed: Any) -> Pipeline:
        made.append(Pipeline(redis_client, to or vendor, **changed))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def pipeline(pipeline_of: PipelineFactory) -> Pipeline:
    """A pipeline to the `vendor`, with quick settings."""
    return pipeline_of()


def elapsed_s(action: Callable[[], object]) -> float:
    """How long something took, in seconds."""
    began = time.monotonic()
    action()
    return time.monotonic() - began
