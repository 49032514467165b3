"""A record as the dashboard writes it: hidden, line by line, its errors at their fields."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from worker.dashboard.record_view import masked, pretty, record_lines

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)


@given(VALUES)
def test_the_lines_are_those_that_are_edited(value: Any) -> None:
    """What is shown with line numbers is the text in the form, line by line."""
    shown, nowhere = record_lines(value)
    assert [line.text for line in shown] == pretty(value).split("\n")
    assert [line.number for line in shown] == list(range(1, len(shown) + 1))
    assert nowhere == []


@given(st.dictionaries(st.text(min_size=1), VALUES), st.text())
def test_no_error_is_lost(record: dict[str, Any], path: str) -> None:
    """Whatever path an error names, it stands somewhere, once."""
    shown, nowhere = record_lines(record, {path: ["is wrong"]})
    assert sum(len(line.errors) for line in shown) + len(nowhere) == 1


def test_errors_stand_at_their_fields_or_at_what_should_hold_them() -> None:
    """A field that is missing is told where it belongs, with its name."""
    record = {"type": "event", "evtData": {"Items": [{"a": 1}, {"b": 2}]}}
    errors = {
        "evtData.Items.1.b": ["is wrong"],
        "evtData.Items.7": ["is missing"],
        "evtName": ["is required"],
    }
    shown, _ = record_lines(record, errors)
    assert {line.text.strip(): line.errors for line in shown if line.errors} == {
        "{": ["evtName: is required"],
        '"Items": [': ["evtData.Items.7: is missing"],
        '"b": 2': ["is wrong"],
    }


@given(st.text(min_size=4).filter(lambda text: "characters" not in text))
def test_what_is_hidden_holds_no_value(value: str) -> None:
    """Names stay, values go, however deep they are."""
    record = {"identity": value, "profileData": {"Name": [value, {"x": value}], "Age": 123_456}}
    told = json.dumps(masked(record), ensure_ascii=False)
    assert json.dumps(value, ensure_ascii=False)[1:-1] not in told.replace("•••", "")
    assert "123456" not in told
    assert masked({"type": "event", "evtName": "Charged", "ts": 1}) == {
        "type": "event",
        "evtName": "Charged",
        "ts": 1,
    }


def test_a_property_is_hidden_whatever_its_name() -> None:
    """What says what kind of record it is stands at its top; below, the same names are values."""
    record = {"type": "profile", "ts": {"type": "Jack"}, "profileData": {"type": "Jack", "ts": 7}}
    told = json.dumps(masked(record))
    assert "Jack" not in told
    assert "7" not in told
    assert '"type": "profile"' in told


def test_what_nobody_sees_is_written_out_and_means_the_same() -> None:
    """A blank of no width makes an address invalid; a turned text reads as another one."""
    record = {"Email": "a\u200b@b.example\u00a0", "\u202egnp.exe": "x\u2028y", "ok": "👩\u200d👧 é"}
    text = pretty(record)
    assert r'"Email": "a\u200b@b.example\u00a0"' in text
    assert r'"\u202egnp.exe": "x\u2028y"' in text
    assert '"ok": "👩\u200d👧 é"' in text
    assert json.loads(text) == record


@given(VALUES)
def test_the_text_that_is_edited_means_the_record(value: Any) -> None:
    """Whatever is written out in it."""
    assert json.loads(pretty(value)) == value


def test_an_event_that_is_named_after_somebody_is_hidden_too() -> None:
    """Its name is no value, and yet may hold one; a name without one stays."""
    record = {"evtName": "Invited jack@shop.example", "ts": 1_700_000_000, "type": {"a": "b"}}
    assert masked(record) == {
        "evtName": "Invited •••",
        "ts": 1_700_000_000,
        "type": {"a": "••• 1 character"},
    }
