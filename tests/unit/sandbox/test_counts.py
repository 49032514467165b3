"""The sandbox's pending counts."""

from __future__ import annotations

import orjson
import pytest

from support.clocks import Clock
from support.sandbox import ALL, ledger, rows
from worker.sandbox.counts import Counts
from worker.sandbox.queries import QueryRefused, read_query
from worker.sandbox.settings import SandboxSettings


def test_counts_are_partial_first() -> None:
    """A count has a req_id first; an unknown or old id is refused."""
    book, clock = ledger(), Clock()
    book.add("clevertap", rows(1, 2, 3))
    counts = Counts(book, SandboxSettings(count_partials=2), clock)
    first = counts.start(read_query(orjson.dumps(ALL)))
    assert first["status"] == "partial"
    assert counts.poll(str(first["req_id"])) == first
    assert counts.poll(str(first["req_id"])) == {"status": "success", "count": 3}
    clock.now = 601.0
    for unknown in (str(first["req_id"]), "1", "x"):
        with pytest.raises(QueryRefused, match="invalid request id"):
            counts.poll(unknown)
