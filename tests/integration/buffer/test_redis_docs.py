"""docs/redis.md against a Redis with every key: each key and field is documented."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import orjson
import pytest
import redis

from support.busy_destination import NAME
from support.environment import ROOT
from support.pipeline import Pipeline, identities
from worker.buffer import keys
from worker.buffer.claims import Feedback, Settle, Split
from worker.buffer.history import History
from worker.buffer.scripts import script
from worker.gateway.api.enqueuer import EnqueueRequest, IdempotencyKey, arguments
from worker.gateway.auth.api_keys import KeyTable
from worker.producer.encoder import EnqueueBatch
from worker.readback.reconcile import Reconciliation
from worker.vendors.protocol import DELIVERED, Kind, Outcome, Verdict

DOCS = (ROOT / "docs" / "redis.md").read_text()
AGAIN = Settle(Verdict(Outcome.RETRY, "unavailable", 503), counts_attempt=False)
Row = dict[str, str]


def table(header: str) -> list[Row]:
    """Return the rows of all tables with this name of the first column."""
    rows: list[Row] = []
    for part in re.findall(rf"^\| {header} \|.*\n\|[-|]+\|\n(?:\|.*\n)+", DOCS, re.MULTILINE):
        head, _, *lines = part.splitlines()
        names = [cell.strip() for cell in head.strip("|").split(" | ")]
        for line in lines:
            cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            rows.append(dict(zip(names, cells, strict=True)))
    return rows


def fields_of(title: str) -> list[str]:
    """Return the field patterns in the table below a sentence."""
    part = DOCS.split(f"\n{title}:\n")[1].strip("\n").split("\n\n")[0]
    return [name for line in part.splitlines()[2:] for name in quoted(line.split("|")[1])]


def quoted(cell: str) -> list[str]:
    """Return the words in backticks."""
    return re.findall(r"`([^`]+)`", cell)


def matches(pattern: str, text: str) -> bool:
    """Match a documented name, in which `<...>` stands for anything without a colon."""
    return re.fullmatch(re.sub(r"<[^>]+>", "[^:]*", re.escape(pattern).replace("\\<", "<")
                               .replace("\\>", ">")), text) is not None  # fmt: skip


def undocumented(names: Iterable[str], patterns: Iterable[str]) -> set[str]:
    """Return the names that no pattern matches."""
    known = list(patterns)
    return {name for name in names if not any(matches(each, name) for each in known)}


def decoded(values: Any) -> list[str]:
    """Decode the names in a reply of Redis."""
    return [value.decode() for value in values]


@pytest.fixture
def filled(busy_destination: Pipeline, redis_client: redis.Redis) -> redis.Redis:
    """A Redis with every key that we write."""
    buffer = busy_destination.buffer
    buffer.resume()
    for action in (Split("413: no", lower_bytes=True), Settle(DELIVERED), AGAIN):
        claim = buffer.claim(begun=True)
        assert claim
        buffer.finish(claim, action, "503", 0.1, feedback=Feedback("success", 0.0))
    busy_destination.accept(identities(4, "more"))
    buffer.record_reconciliation(1_700_000_000_000, 0)
    found = Reconciliation(NAME, 1, [])
    redis_client.set(keys.reconciled(NAME, "20231114"), orjson.dumps(found.lines))
    History(redis_client, busy_destination.destination).sample()
    batch = EnqueueBatch(busy_destination.destination, Kind.EVENT)
    key = IdempotencyKey("0" * 32, "f" * 32)
    args = arguments(busy_destination.destination, "token", [EnqueueRequest([batch], key, b"[]")])
    script("accept_requests").run(redis_client, keys.base(NAME), *args)
    KeyTable(redis_client).create("shop")
    for name, *args in (
        ("audit_append", 10, "", "user", "ann"),
        ("end_session", "s1", 60),
        ("login_attempt", "a1", 60),
    ):
        script(name).run(redis_client, keys.DASHBOARD, *args)
    redis_client.set(f"{keys.DASHBOARD}:secret", b"x")
    return redis_client


def test_redis_docs_have_every_key_with_its_type(filled: redis.Redis) -> None:
    """A scan finds no key without a row, and each row's key, of the row's type."""
    kinds = {"sorted set": "zset"}
    rows = {
        quoted(row["key"])[0].replace("base:", f"{keys.base(NAME)}:"): row["type"]
        for row in table("key")
    }
    found = decoded(filled.scan_iter("ingest:*"))
    assert undocumented(found, rows) == set()
    for pattern, kind in rows.items():
        same = [key for key in found if matches(pattern, key)]
        assert same, f"nothing wrote {pattern}"
        types = {filled.type(key).decode() for key in same}  # type: ignore[union-attr] # blocking
        assert types == {kinds.get(kind, kind)}, pattern


def test_redis_docs_have_every_field(filled: redis.Redis) -> None:
    """Each field of the state, the counters, a batch, a dead letter and the journal has a row."""
    state, counters = filled.hkeys(keys.state(NAME)), filled.hkeys(keys.counters(NAME))
    assert undocumented(decoded(state), fields_of("Fields of `base:state`")) == set()
    assert undocumented(decoded(counters), fields_of("Fields of `base:counters`")) == set()
    batches = [orjson.loads(raw) for raw in filled.hvals(keys.batches(NAME))]
    known = fields_of("Fields of a batch in `base:batches`")
    assert {field for batch in batches for field in batch} - set(known) == set()
    for key in (keys.dead(NAME, Kind.EVENT), keys.journal(NAME)):
        row = next(r for r in table("key") if matches(quoted(r["key"])[0], key.replace(
            f"{keys.base(NAME)}:", "base:")))  # fmt: skip
        entries: Any = filled.xrange(key)
        (_, fields), *_ = entries
        assert set(decoded(fields)) <= set(quoted(row["holds"])), key


def test_redis_docs_name_writers_that_exist() -> None:
    """Each writer is a script, or a module of the package."""
    lua = {path.stem for path in (ROOT / "worker" / "buffer" / "lua").glob("*.lua")}
    for row in [*table("key"), *table("field")]:
        for writer in quoted(row.get("writers", "")):
            assert writer in lua or (ROOT / "worker" / writer).is_file(), writer
