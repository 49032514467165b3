"""The sandbox's exports by cursor, and its pending counts."""

from __future__ import annotations

import orjson
import pytest

from support.clocks import Clock
from support.sandbox import ALL, ledger, rows
from worker.sandbox.queries import QueryRefused, read_query
from worker.sandbox.reads import PageShape, ReadBack, page_size
from worker.sandbox.settings import SandboxSettings


def test_exports_page_through_everything_once() -> None:
    """An export is busy first; then each record comes once until no next cursor is named."""
    book = ledger()
    book.add("clevertap", rows(*range(7)))
    exports = ReadBack(book, SandboxSettings(busy_polls=2), Clock())
    cursor = exports.start_export(read_query(orjson.dumps(ALL)), PageShape(3))
    assert cursor.endswith("%3D")
    for _ in range(2):
        with pytest.raises(QueryRefused, match="in progress"):
            exports.page(cursor.replace("%2F", "/").replace("%3D", "="))
    numbers = []
    while cursor:
        page = exports.page(cursor.replace("%2F", "/").replace("%3D", "="))
        numbers += [record["event_props"]["n"] for record in page["records"]]
        cursor = page.get("next_cursor", "")
    assert numbers == list(range(7))


def test_exports_cursor_expires() -> None:
    """A cursor unused for an hour, or kept for four, is invalid."""
    clock = Clock()
    exports = ReadBack(ledger(), SandboxSettings(busy_polls=0), clock)
    cursor = exports.start_export(read_query(orjson.dumps(ALL)), PageShape(3)).replace("%2F", "/")
    cursor = cursor.replace("%3D", "=")
    for hour in range(1, 5):
        clock.now = hour * 3599.0
        assert exports.page(cursor) == {"status": "success"}
    clock.now = 4 * 3600.0 + 1
    with pytest.raises(QueryRefused, match="Invalid cursor"):
        exports.page(cursor)


@pytest.mark.parametrize(("asked", "size"), [(None, 5000), ("50", 50), ("9999", 5000)])
def test_page_size_is_bounded(asked: str | None, size: int) -> None:
    """A page holds as many records as requested, and at most 5000."""
    assert page_size(asked) == size


def test_counts_are_partial_first() -> None:
    """A count has a req_id first; an unknown or old id is refused."""
    book, clock = ledger(), Clock()
    book.add("clevertap", rows(1, 2, 3))
    counts = ReadBack(book, SandboxSettings(count_partials=2), clock)
    first = counts.start_count(read_query(orjson.dumps(ALL)))
    assert first["status"] == "partial"
    assert counts.poll_count(str(first["req_id"])) == first
    assert counts.poll_count(str(first["req_id"])) == {"status": "success", "count": 3}
    clock.now = 601.0
    for unknown in (str(first["req_id"]), "1", "x"):
        with pytest.raises(QueryRefused, match="invalid request id"):
            counts.poll_count(unknown)
