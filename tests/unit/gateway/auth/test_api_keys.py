"""The table of producers' keys."""

from __future__ import annotations

import orjson

from worker.gateway.auth.api_keys import digest, find, read_table


def test_read_table_with_damaged_entries_skips_them() -> None:
    """A damaged entry yields no key and does not affect the others."""
    good = {"digest": digest("k").decode(), "created_s": 1, "destinations": ["main"]}
    keys = read_table(
        {
            b"good": orjson.dumps(good),
            b"half": b"{",
            b"list": b"[]",
            b"none": orjson.dumps({**good, "digest": None}),
            b"\xff": orjson.dumps(good),
        }
    )
    found = find(keys, "k")
    assert found is not None
    assert (found.name, found.may_send_to("main"), found.may_send_to("other")) == (
        "good",
        True,
        False,
    )
    assert find(keys, "K") is None
    assert find(keys, "\udcff") is None
