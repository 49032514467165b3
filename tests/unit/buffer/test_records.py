"""The stored form of a record: a header that can be cut off, and bytes that stay as they are."""

from __future__ import annotations

import json
import time
import tracemalloc
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.buffer.records import (
    accepted_at_ms,
    canonical_id,
    count_names,
    day_of,
    joined_ids,
    new_id,
    pack,
    split_heads,
    stored_body,
    unpack,
    without,
)
from worker.vendors.json_values import exact

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@given(NAMES, st.binary(max_size=200))
def test_unpack_of_a_packed_record_returns_it(name: str, body: bytes) -> None:
    """Whatever is in the name or the body, including quotes and line feeds."""
    record_id = new_id()
    stored = pack(record_id, "20261121", name, body)
    taken = unpack(stored)
    assert (taken.id, taken.day, taken.name, taken.body) == (record_id, "20261121", name, body)
    assert stored_body(stored) == body
    heads, bodies = split_heads([stored])
    assert bodies == [body]
    assert joined_ids(heads).hex() == record_id
    assert all(key.startswith(b"20261121 ") for key in count_names(heads))


def test_accepted_at_ms_reads_both_spellings_of_an_id() -> None:
    """UUIDv7: the first 48 bits are epoch milliseconds."""
    before = int(time.time() * 1000)
    record_id = new_id()
    dashed = (
        f"{record_id[:8]}-{record_id[8:12]}-{record_id[12:16]}-{record_id[16:20]}-{record_id[20:]}"
    )
    assert before <= accepted_at_ms(record_id) == accepted_at_ms(dashed) <= time.time() * 1000
    assert canonical_id(dashed.upper()) == record_id


def test_header_of_a_long_name_is_not_cached() -> None:
    """No vendor limits a name, and a producer must not fill up its memory with them."""
    tracemalloc.start()
    try:
        for number in range(100):
            pack(new_id(), "20261121", f"{number}{'x' * 100_000}", b"{}")
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1_000_000


@pytest.mark.parametrize("stored", [b"", b"no header", b"short\n{}", b"\n" * 40])
def test_unpack_of_anything_else_raises(stored: bytes) -> None:
    """Other data in a list is reported, not taken for a record."""
    with pytest.raises(ValueError, match="not a stored record"):
        unpack(stored)


@pytest.mark.parametrize(
    ("ts", "zone", "day"),
    [
        (1468308340, "UTC", "20160712"),
        (1468281599, "UTC", "20160711"),
        (1468281600, "UTC", "20160712"),
        (1468281599, "Asia/Kolkata", "20160712"),  # 5:30 ahead
        (1468281599, "Asia/Kathmandu", "20160712"),  # 5:45 ahead
        (1468281600, "America/New_York", "20160711"),
        (1792886400, "Europe/Prague", "20261025"),  # the day its summer time ends
        (10**14, "UTC", "00000000"),
    ],
)
def test_day_of_uses_the_accounts_time_zone(ts: int, zone: str, day: str) -> None:
    """Deliveries are counted by the same days as at the vendor."""
    assert day_of(ts, ZoneInfo(zone)) == day


def test_split_heads_gives_names_and_ids_to_count() -> None:
    """Tallies by day and name, ids in 16 bytes each, bodies untouched; profiles have no tally."""
    ids = [new_id() for _ in range(4)]
    stored = [
        pack(ids[0], "20261121", "A", b'{"n":0}'),
        pack(ids[1], "20261121", "A", b'{"n":1}'),
        pack(ids[2], "20261122", "A b", b'{"n":2}'),
        pack(ids[3], "", "", b'{"n":3}'),
    ]
    heads, bodies = split_heads(stored)
    assert bodies == [b'{"n":%d}' % n for n in range(4)]
    assert count_names(heads) == {b"20261121 A": 2, b"20261122 A b": 1}
    assert joined_ids(heads) == b"".join(map(bytes.fromhex, ids))
    assert without(heads, [2, 4]) == [heads[0], heads[2]]


@pytest.mark.parametrize("name", ["Viewed ", " Viewed", "A  b", "\u00a0"])
def test_count_names_keeps_names_with_blanks(name: str) -> None:
    """A blank at the end of a name does not make it a record without a name."""
    stored = pack(new_id(), "20261121", name, b"{}")
    assert count_names(split_heads([stored])[0]) == {b"20261121 " + name.encode(): 1}


@pytest.mark.parametrize("number", [2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**300])
def test_stored_integers_are_read_exactly(number: int) -> None:
    """No integer becomes a float, wherever it is; other values are those of orjson."""
    text = json.dumps({"a": [number, {"b": number}], "f": 0.1234567890123456789, "s": "9" * 40})
    read = exact(text.encode())
    assert read == {"a": [number, {"b": number}], "f": 0.1234567890123456789, "s": "9" * 40}
    assert type(read["a"][0]) is type(read["a"][1]["b"]) is int


def test_deeply_nested_text_with_a_long_number_is_read() -> None:
    """The reader accepts what only a schema can reject."""
    text = b"[" * 1000 + b"1" * 19 + b"]" * 1000
    assert type(exact(text)) is list
