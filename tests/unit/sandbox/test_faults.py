"""Active faults, and which of them apply to a request."""

from __future__ import annotations

from typing import Any

import pytest

from worker.sandbox.faults import BadRule, Faults, read_rule


def struck(faults: Faults, count: int, path: str = "/1/upload") -> list[bool]:
    """Which of so many requests were struck."""
    return [faults.plan("clevertap", path).rule is not None for _ in range(count)]


def test_plan_applies_a_rule_as_often_as_requested() -> None:
    """A rule spares its first requests, applies so many times, and is spent."""
    faults = Faults()
    faults.add({"status": 503, "times": 2, "after": 1})
    assert struck(faults, 4) == [False, True, True, False]
    assert faults.listed()[0]["met"] == 2


def test_plan_respects_vendor_and_path() -> None:
    """Other requests neither meet a rule nor use it up."""
    faults = Faults()
    faults.add({"kind": "drop", "vendor": "clevertap", "path": "/1/events", "times": 1})
    assert faults.plan("bloomreach", "/1/events.json").rule is None
    assert struck(faults, 1) == [False]
    assert struck(faults, 1, "/1/events.json") == [True]


def test_plan_with_the_same_seed_repeats() -> None:
    """A random fault is repeatable."""
    first, second = Faults(), Faults()
    for faults in (first, second):
        faults.add({"status": 500, "probability": 0.5, "seed": 3})
    drawn = struck(first, 50)
    assert drawn == struck(second, 50)
    assert 10 < sum(drawn) < 40


def test_plan_adds_delays_and_takes_the_first_rule() -> None:
    """Several rules can be active; only one decides the response."""
    faults = Faults()
    faults.add({"delay_ms": 20})
    faults.add({"kind": "nonsense", "delay_ms": 30})
    faults.add({"kind": "drop"})
    plan = faults.plan("clevertap", "/1/upload")
    assert plan.delay_ms == 50
    assert plan.rule is not None
    assert plan.rule.kind == "nonsense"


def test_clear_removes_one_rule_or_all() -> None:
    """An id removes one rule; none removes all."""
    faults = Faults()
    first = faults.add({"status": 500})
    faults.add({"status": 501})
    assert faults.clear(first.id) == 1
    assert faults.clear() == 1
    assert faults.listed() == []


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
