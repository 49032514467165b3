"""Edited records: what is not JSON, and what breaks a rule."""

from __future__ import annotations

import json

import pytest

from support.stored import DEAD_PROFILE as LETTER
from worker.dashboard.dead_letter import EditedRecord, parse_edited
from worker.settings.destination import Destination, KindSettings
from worker.vendors.clevertap.account import CleverTapAccount
from worker.vendors.protocol import Kind, VendorAccount

DESTINATION = Destination(
    name="clevertap", account=CleverTapAccount(), kinds={Kind.PROFILE: KindSettings(100)}
)
PROFILE = {"type": "profile", "identity": "a", "profileData": {"Name": "Ürsula"}}


def parse(text: str, destination: Destination = DESTINATION) -> EditedRecord:
    """Parse a text as the replacement of a dead profile."""
    return parse_edited(text, destination, LETTER, 1_800_000_000.0)


def test_parse_edited_of_a_valid_record_prepares_it() -> None:
    """It can be sent, or checked with the vendor."""
    edited = parse(json.dumps(PROFILE, indent=3))
    assert (edited.record, edited.errors, edited.is_json) == (PROFILE, {}, True)
    assert edited.prepared is not None
    assert json.loads(edited.prepared.body) == {**PROFILE, "ts": 1_800_000_000}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "Not valid JSON: Expecting value, line 1, column 1."),
        ("{", "Not valid JSON: Expecting property name"),
        ("\x00", "Not valid JSON: Expecting value"),
        ('{"a": NaN}', "a number is not finite"),
        ("[" * 100_000, "the nesting is too deep"),
        ('{"type": "profile", "identity": "a", "profileData": {"Name": "\\ud800"}}', "surrogate"),
        ('{"\\ud800": 1}', "surrogate"),
    ],
)
def test_parse_edited_of_what_is_not_json_explains_why(text: str, error: str) -> None:
    """Nothing is prepared, and there is no record to show."""
    edited = parse(text)
    assert (edited.is_json, edited.record, edited.prepared) == (False, None, None)
    assert error in edited.errors[""][0]


@pytest.mark.parametrize("text", ["null", "[]", '"x"', '{"a": 1e999}', '{"type": "event"}'])
def test_parse_edited_of_what_breaks_a_rule_has_errors(text: str) -> None:
    """It is JSON, but not a record that the vendor takes."""
    edited = parse(text)
    assert edited.is_json
    assert edited.errors
    assert edited.prepared is None


def test_parse_edited_of_another_kind_is_refused() -> None:
    """A profile cannot be replaced by an event."""
    event = {"type": "event", "identity": "a", "evtName": "Viewed", "evtData": {}}
    kinds: dict[str, KindSettings] = {"event": KindSettings(100), "profile": KindSettings(100)}
    destination = Destination(name="clevertap", account=CleverTapAccount(), kinds=kinds)
    edited = parse(json.dumps(event), destination)
    assert edited.errors == {"type": ["must stay profile, as it was accepted"]}


def test_parse_edited_for_an_unconfigured_destination_is_refused() -> None:
    """Its rules are not known."""
    gone = Destination(name="gone", account=VendorAccount(), kinds={"profile": KindSettings(1)})
    edited = parse(json.dumps(PROFILE), gone)
    assert "not configured" in edited.errors[""][0]
