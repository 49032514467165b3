"""A Redis that the version before the packages were rearranged has filled."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis

from support.environment import ROOT
from support.pipeline import Pipeline, PipelineFactory
from support.vendor import LoopbackVendor
from worker.dead_letters.letters import DeadLetters
from worker.dead_letters.replay import Replayer
from worker.settings.destination import KindSettings
from worker.vendors.protocol import Kind

DUMP = ROOT / "tests" / "data" / "redis_before_the_move.json"


def read_dump() -> dict[str, tuple[str, Any]]:
    """Return the keys with their types and values."""
    dump: dict[str, tuple[str, Any]] = json.loads(DUMP.read_text())
    return dump


def restore(client: redis.Redis) -> None:
    """Write the keys as they were, strings in Latin-1: ids are bytes."""
    for key, (kind, value) in read_dump().items():
        if kind == "list":
            client.rpush(key, *(each.encode("latin-1") for each in value))
        elif kind == "hash":
            client.hset(key, mapping=value)
        elif kind == "zset":
            client.zadd(key, value)
        else:
            for entry, fields in value:
                binary: Any = {name: each.encode("latin-1") for name, each in fields.items()}
                client.xadd(key, binary, id=entry)


@pytest.fixture
def filled(pipeline_of: PipelineFactory, redis_client: redis.Redis) -> Pipeline:
    """Records buffered, leased, waiting to be retried, halved, and dead."""
    restore(redis_client)
    kinds = {Kind.EVENT: KindSettings(4), Kind.PROFILE: KindSettings(3, partitions=2)}
    return pipeline_of(kinds=kinds, requests_per_s=1000.0)


def test_redis_of_the_version_before_drains(filled: Pipeline, vendor: LoopbackVendor) -> None:
    """Every record arrives, an identity's in order; what workers had begun counts as ambiguous."""
    places = filled.status().kinds
    counts = {
        kind: (each.buffered, each.in_flight, each.retrying, each.dead)
        for kind, each in places.items()
    }
    assert counts == {Kind.EVENT: (3, 4, 9, 1), Kind.PROFILE: (4, 3, 0, 0)}
    recovered = filled.buffer.recover()
    assert (recovered.unbegun, recovered.died, recovered.records) == (1, 1, 3)
    filled.deliver()
    letters = DeadLetters(filled.client, filled.destination)
    assert Replayer(filled.client, filled.destination).replay(letters.select(), print) == 1
    filled.deliver()
    totals = {kind: each.totals for kind, each in filled.status().kinds.items()}
    assert (totals[Kind.EVENT]["accepted"], totals[Kind.EVENT]["delivered"]) == (19, 19)
    assert (totals[Kind.PROFILE]["accepted"], totals[Kind.PROFILE]["delivered"]) == (7, 7)
    assert totals[Kind.PROFILE]["ambiguous"] == 3
    assert sum(vendor.taken.values()) == 19 + 7 - 2  # two were delivered by the old version
    assert vendor.taken["ann"] == vendor.taken["bob"] == 2
    delivered = delivered_ids(filled)
    for who in ("ann", "bob"):
        first, second = ids_of(who)
        assert delivered.index(first) < delivered.index(second)


def delivered_ids(pipeline: Pipeline) -> list[str]:
    """Return the ids of the delivered profiles, in order, as the journal has them."""
    entries = [each for each in pipeline.journal() if each["kind"] == Kind.PROFILE]
    ids = "".join(each["ids"].encode("latin-1").hex() for each in entries)
    return [ids[at : at + 32] for at in range(0, len(ids), 32)]


def ids_of(identity: str) -> list[str]:
    """Return the ids of an identity's profile updates in the dump, oldest first."""
    lists = [value for kind, value in read_dump().values() if kind == "list"]
    return sorted(
        record[:32] for value in lists for record in value if f'"identity":"{identity}"' in record
    )


def test_claim_of_the_version_before_can_be_begun_and_settled(filled: Pipeline) -> None:
    """A message that the old drain sent is delivered by a new worker."""
    batches: Any = filled.client.hgetall(f"ingest:{{{filled.destination.name}}}:batches")
    batch_id, batch = next(
        (each.decode(), json.loads(raw))
        for each, raw in batches.items()
        if b'"begun":0' in raw and b'"token":""' not in raw
    )
    done = filled.deliverer.run(batch_id, batch["token"], is_over=lambda: True)
    assert (done.batches, done.records, done.delivered) == (1, 4, 4)
