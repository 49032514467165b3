"""The sandbox's own reading of Bloomreach's tracking API."""

from __future__ import annotations

from typing import Any

import pytest

from support.sandbox import NOON
from worker.sandbox.bloomreach_rules import CUSTOMERS, EVENTS, CommandValidator
from worker.sandbox.ledger import LedgerRecord
from worker.sandbox.settings import SandboxSettings

COMMANDS = CommandValidator(SandboxSettings())


def event(**changes: Any) -> dict[str, Any]:
    """A sound command's data, with changes."""
    plain = {
        "customer_ids": {"registered": "jane"},
        "event_type": "purchase",
        "timestamp": 1709566376,
        "properties": {"total_price": 7.99},
    }
    return {**plain, **changes}


@pytest.mark.parametrize(
    ("changes", "errors"),
    [
        ({"customer_ids": {}}, ["At least one id should be specified."]),
        ({"customer_ids": None}, ["At least one id should be specified."]),
        ({"customer_ids": {"registered": "null"}}, ["At least one valid id should be specified"]),
        (
            {"customer_ids": {"registered": "undefined"}},
            ["At least one valid id should be specified"],
        ),
        ({"customer_ids": {"registered": "--"}}, ["At least one valid id should be specified"]),
        ({"event_type": None}, "Field event_type is required"),
        (
            {"event_type": "internal_audit"},
            {"_global": ["Not authorized to add event of specified type"]},
        ),
        ({"properties": []}, {"properties": ["must be an object"]}),
        ({"properties": {"text": "x" * 16_000}}, {"text": ["value is too large"]}),
        ({"properties": {"list": ["x" * 16_000]}}, {"list": ["value is too large"]}),
        ({"properties": {"control": "\x01" * 2_700}}, {"control": ["value is too large"]}),
        (
            {"customer_ids": {"registered": [["jane"]]}},
            ["At least one valid id should be specified"],
        ),
        ({"timestamp": "yesterday"}, {"timestamp": ["Not a valid timestamp"]}),
        (
            {"properties": {f"p{i}": "x" * 15_000 for i in range(54)}},
            ["Message is too large"],
        ),
    ],
)
def test_validate_invalid_event_returns_errors_in_three_shapes(
    changes: dict[str, Any], errors: Any
) -> None:
    """Errors are a list, a text, or an object by field: a client must read all of them."""
    assert COMMANDS.validate(EVENTS, event(**changes), NOON) == errors


@pytest.mark.parametrize(
    ("timestamp", "ts"),
    [
        (1709566376, 1709566376),
        (1709566376.9, 1709566376),
        ("1709566376", 1709566376),
        ("2024-03-04T15:32:56Z", 1709566376),
        (1709566376000, 1709566376000),
        (None, NOON),
    ],
)
def test_validate_timestamp_is_seconds_or_iso_8601(timestamp: Any, ts: int) -> None:
    """Milliseconds are taken for seconds, as the vendor warns; a command without one is of now."""
    taken = COMMANDS.validate(EVENTS, event(timestamp=timestamp), NOON)
    assert isinstance(taken, LedgerRecord)
    assert (taken.kind, taken.name, taken.ts) == ("event", "purchase", ts)


def test_validate_customer_properties_must_be_an_object() -> None:
    """A list is refused, as one of the vendor's own clients warns."""
    customer = {"customer_ids": {"registered": "jane"}, "update_timestamp": 1681484247}
    taken = COMMANDS.validate(CUSTOMERS, {**customer, "properties": {"first_name": "Jane"}}, NOON)
    assert isinstance(taken, LedgerRecord)
    assert (taken.kind, taken.ts) == ("profile", 1681484247)
    refused = COMMANDS.validate(CUSTOMERS, {**customer, "properties": []}, NOON)
    assert refused == {"properties": ["must be an object"]}
    unauthorised = COMMANDS.validate(
        CUSTOMERS, {**customer, "properties": {"internal_score": 1}}, NOON
    )
    assert unauthorised == {"_global": ["not authorized to update specified customer properties"]}
