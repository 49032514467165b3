"""Faults to order: which rule strikes which request."""

from __future__ import annotations

from typing import Any

import pytest

from worker.sandbox.fault_rules import BadRule, read_rule
from worker.sandbox.faults import Faults
from worker.sandbox.limiters import ConcurrencyLimiter, RateLimiter
from worker.sandbox.settings import SandboxSettings


def struck(faults: Faults, count: int, path: str = "/1/upload") -> list[bool]:
    """Which of so many requests were struck."""
    return [faults.plan("clevertap", path).rule is not None for _ in range(count)]


def test_a_rule_strikes_as_often_as_told() -> None:
    """It lets its first chances pass, strikes so many times, and is spent."""
    faults = Faults()
    faults.add({"status": 503, "times": 2, "after": 1})
    assert struck(faults, 4) == [False, True, True, False]
    assert faults.listed()[0]["met"] == 2


def test_a_rule_keeps_to_its_vendor_and_path() -> None:
    """Requests elsewhere neither meet it nor use it up."""
    faults = Faults()
    faults.add({"kind": "drop", "vendor": "clevertap", "path": "/1/events", "times": 1})
    assert faults.plan("bloomreach", "/1/events.json").rule is None
    assert struck(faults, 1) == [False]
    assert struck(faults, 1, "/1/events.json") == [True]


def test_the_same_seed_draws_the_same_faults() -> None:
    """A random fault can be had again."""
    first, second = Faults(), Faults()
    for faults in (first, second):
        faults.add({"status": 500, "probability": 0.5, "seed": 3})
    drawn = struck(first, 50)
    assert drawn == struck(second, 50)
    assert 10 < sum(drawn) < 40


def test_delays_add_up_and_the_first_answer_wins() -> None:
    """Several rules can be in force; only one can be the answer."""
    faults = Faults()
    faults.add({"delay_ms": 20})
    faults.add({"kind": "nonsense", "delay_ms": 30})
    faults.add({"kind": "drop"})
    plan = faults.plan("clevertap", "/1/upload")
    assert plan.delay_ms == 50
    assert plan.rule is not None
    assert plan.rule.kind == "nonsense"


def test_a_record_rule_describes_by_path() -> None:
    """Every path given must lead to its value."""
    rule = read_rule({"match": {"evtName": "X", "evtData.n": 7}, "code": 555})
    assert rule.kind == "record"
    assert rule.describes({"evtName": "X", "evtData": {"n": 7}})
    assert not rule.describes({"evtName": "X", "evtData": {"n": 8}})
    assert not rule.describes("no object")


def test_faults_are_cleared_one_by_one_or_all() -> None:
    """An id names one; none names all."""
    faults = Faults()
    first = faults.add({"status": 500})
    faults.add({"status": 501})
    assert faults.clear(first.id) == 1
    assert faults.clear() == 1
    assert faults.listed() == []


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
def test_a_rule_that_cannot_be_followed_is_refused(given: Any) -> None:
    """A misspelt fault that never strikes would make a test pass for nothing."""
    with pytest.raises(BadRule):
        read_rule(given)


def test_the_concurrency_gate_counts_who_is_inside() -> None:
    """One over the limit is not let in, and a place is free again when somebody leaves."""
    limiter = ConcurrencyLimiter(1)
    with limiter.entered() as first, limiter.entered() as second:
        assert (first, second) == (True, False)
    with limiter.entered() as third:
        assert third
    assert limiter.highest == 1


def test_the_rate_gate_fills_with_time() -> None:
    """One second's worth may come at once; then requests are let in as time passes."""
    now = [0.0]
    limiter = RateLimiter(2, lambda: now[0])

    def enter() -> bool:
        with limiter.entered() as allowed:
            return allowed

    assert [enter(), enter(), enter()] == [True, True, False]
    now[0] = 0.5
    assert [enter(), enter()] == [True, False]


def test_settings_come_from_the_environment() -> None:
    """Each field has a variable, read as the type of its default."""
    environ = {
        "INGEST_SANDBOX_UPLOAD_CONCURRENCY": "3",
        "INGEST_SANDBOX_LATENCY_MS": "12.5",
        "INGEST_SANDBOX_CLOSE_CONNECTIONS": "yes",
        "INGEST_SANDBOX_DISCARDED_EVENTS": "Old, Older",
        "INGEST_SANDBOX_PASSCODE": "ours",
    }
    settings = SandboxSettings.from_env(environ)
    assert settings.upload_concurrency == 3
    assert settings.latency_ms == 12.5
    assert settings.close_connections is True
    assert settings.discarded_events == ("Old", "Older")
    assert settings.passcode == "ours"


@pytest.mark.parametrize(
    ("variable", "value", "rule"),
    [
        ("INGEST_SANDBOX_LATENCY_MS", "fast", "must be a number, 0 or more, not 'fast'"),
        ("INGEST_SANDBOX_LATENCY_MS", "nan", "must be a number, 0 or more, not 'nan'"),
        ("INGEST_SANDBOX_MAX_RECORDS", "1.5", "must be a whole number, 0 or more, not '1.5'"),
        ("INGEST_SANDBOX_KEEP_REQUESTS", "-1", "must be a whole number, 0 or more, not '-1'"),
        (
            "INGEST_SANDBOX_TIME_ZONE",
            "Mars/Base",
            "must be a time zone, as in Europe/Prague, not 'Mars/Base'",
        ),
        (
            "INGEST_SANDBOX_TIME_ZONE",
            "../zone",
            "must be a time zone, as in Europe/Prague, not '../zone'",
        ),
        ("INGEST_SANDBOX_NESTED_OBJECTS", "maybe", "must be true or false, not 'maybe'"),
    ],
)
def test_a_wrong_setting_is_named(variable: str, value: str, rule: str) -> None:
    """The error tells which variable it was, and what it must be."""
    with pytest.raises(ValueError, match=f"^{variable}: {rule}$"):
        SandboxSettings.from_env({variable: value})
