"""Fault rules, as they are read."""

from __future__ import annotations

from typing import Any

import pytest

from worker.sandbox.fault_rules import BadRule, read_rule


def test_record_rule_describes_by_path() -> None:
    """Every given path must lead to its value."""
    rule = read_rule({"match": {"evtName": "X", "evtData.n": 7}, "code": 555})
    assert rule.kind == "record"
    assert rule.describes({"evtName": "X", "evtData": {"n": 7}})
    assert not rule.describes({"evtName": "X", "evtData": {"n": 8}})
    assert not rule.describes("no object")


@pytest.mark.parametrize(
    "given",
    [
        [],
        {},
        {"kind": "earthquake"},
        {"status": 42},
        {"status": "503"},
        {"status": 503, "times": -1},
        {"status": 503, "probability": 2},
        {"status": 503, "vendor": "else"},
        {"status": 429, "retry_after": "2\r\nx: y"},
        {"kind": "drop", "apply": "no"},
        {"delay_ms": 1e9},
        {"match": "X", "code": 555},
        {"kind": "drop", "id": 4},
    ],
)
def test_read_rule_invalid_raises(given: Any) -> None:
    """A misspelt fault that never applies would make a test pass for nothing."""
    with pytest.raises(BadRule):
        read_rule(given)
