"""The sandbox's checks of CleverTap records."""

from __future__ import annotations

from typing import Any

import pytest

from support.sandbox import PERSON, VALIDATOR, event, profile
from worker.sandbox.clevertap_rules import Validator
from worker.sandbox.error_codes import TOO_MANY
from worker.sandbox.settings import SandboxSettings


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (event(), None),
        (event(evtName="Charged", evtData={"Items": [{"Name": "Pan", "Price": 59.0}]}), None),
        (event(identity=None, objectId="a8ffcbc9-a747-4ee3-a791-c5e58ad03097"), None),
        (event(FBID="34322423", identity=""), None),
        (event(source="Segment"), None),
        (event(evtData={f"p{i}": i for i in range(256)}), None),
        (event(evtName=""), 509),
        (event(evtName=None), 509),
        (event(evtName=17), 509),
        (event(evtData=[]), 512),
        (event(evtData={"Nested": {"a": 1}}), 512),
        (event(evtData={"Text": "x" * 513}), 512),
        (event(evtData={"Text": "é" * 257}), 512),
        (event(evtData={"k" * 121: 1}), 512),
        (event(evtName="Charged", evtData={"Items": [{"Deep": {"a": 1}}]}), 512),
        (event(evtName="App Launched"), 513),
        (event(evtName="applaunched"), 513),
        (event(evtName="Web Page Viewed"), 513),
        (event(evtData={f"p{i}": i for i in range(257)}), 522),
        (event(identity=""), 523),
        (event(identity=True), 523),
        (event(identity="x" * 1024), 523),
        (event(type="visit"), 524),
        ({}, 524),
        ("no object", 524),
        ({"type": "profile", "identity": "4"}, 524),
        (event(ts=0), 525),
        (event(ts="1521649274"), 525),
        (event(ts=1521649274000), 525),
        (event(ts=True), 525),
        (event(objectId="no such id!"), 526),
        (event(evtName="Legacy Page View"), 528),
        (event(evtName="legacypageview"), 528),
        (profile(Email={"$delete": 1}, Phone={"$delete": 1}), None),
        (profile(Age=18, Gender=None), None),
        (profile(Email="john@undeliverable.example.com"), 515),
        (profile(Phone="+99920255501"), 516),
        (profile(Age=151), 520),
    ],
)
def test_validate_returns_the_published_code(record: Any, code: int | None) -> None:
    """Each published error of events and profiles is found, and valid records pass."""
    refusal = VALIDATOR.validate(record)
    assert (refusal.code if refusal else None) == code


def test_validate_event_properties_limit_can_be_set() -> None:
    """The newer page allows 100 properties an event, configurable per account."""
    validator = Validator(SandboxSettings(event_properties=100))
    assert validator.validate(event(evtData={f"p{i}": i for i in range(100)})) is None
    assert validator.validate(event(evtData={f"p{i}": i for i in range(101)})) == TOO_MANY


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, None),
        ({"objectId": None}, 530),
        ({"tokenData": "abc"}, 531),
        ({"tokenData": {"type": "fcm"}}, 532),
        ({"tokenData": {"id": "abc"}}, 533),
        ({"tokenData": {"id": "abc", "type": ["fcm"]}}, 534),
        ({"tokenData": {"id": "abc", "type": "pigeon"}}, 534),
        ({"tokenData": {"id": "abc", "type": "chrome"}}, 535),
        (
            {"tokenData": {"id": "a", "type": "chrome", "keys": {"p256dh": "b", "auth": "c"}}},
            None,
        ),
    ],
)
def test_validate_token_returns_its_own_codes(changes: dict[str, Any], code: int | None) -> None:
    """Device tokens are checked too: all three kinds come to one address."""
    token = {"type": "token", "objectId": "2ce3ab", "tokenData": {"id": "abc", "type": "fcm"}}
    refusal = VALIDATOR.validate({**token, **changes})
    assert (refusal.code if refusal else None) == code


def test_validate_returns_the_first_error_in_order_of_codes() -> None:
    """One error per record: once it is fixed, the next one appears."""
    broken = profile(
        Gender="x", Email="x", Phone="x", Employed="x", Education="x", Married="x", Age="x"
    ) | {"ts": 0}
    codes = []
    fixed = {"ts": 1521649274}
    for field in ("ts", "Gender", "Email", "Phone", "Employed", "Education", "Married", "Age"):
        refusal = VALIDATOR.validate(broken)
        assert refusal is not None
        codes.append(refusal.code)
        broken = broken | fixed if field == "ts" else broken
        if field != "ts":
            broken["profileData"][field] = PERSON[field]
    assert codes == [525, 514, 515, 516, 517, 518, 519, 520]
    assert VALIDATOR.validate(broken) is None
