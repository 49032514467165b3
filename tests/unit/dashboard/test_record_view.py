"""A record as the dashboard shows it: masked, line by line, its errors at their fields."""

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
def test_record_lines_are_those_of_the_text_to_edit(value: Any) -> None:
    """The lines match the text in the form."""
    assert [line.text for line in record_lines(value, {})] == pretty(value).split("\n")


@given(st.dictionaries(st.text(min_size=1), VALUES), st.text())
def test_record_lines_show_every_error_once(record: dict[str, Any], path: str) -> None:
    """Whatever path it names."""
    shown = record_lines(record, {path: ["is wrong"]})
    assert sum(len(line.errors) for line in shown) == 1


def test_record_lines_show_errors_at_their_field_or_nearest_parent() -> None:
    """The error of a missing field has the field's name."""
    record = {"type": "event", "evtData": {"Items": [{"a": 1}, {"b": 2}]}}
    errors = {
        "evtData.Items.1.b": ["is wrong"],
        "evtData.Items.7": ["is missing"],
        "evtName": ["is required"],
    }
    shown = record_lines(record, errors)
    assert {line.text.strip(): line.errors for line in shown if line.errors} == {
        "{": ["evtName: is required"],
        '"Items": [': ["evtData.Items.7: is missing"],
        '"b": 2': ["is wrong"],
    }


@given(st.text(min_size=4).filter(lambda text: "characters" not in text))
def test_masked_keeps_names_and_hides_values(value: str) -> None:
    """However deep they are."""
    record = {"identity": value, "profileData": {"Name": [value, {"x": value}], "Age": 123_456}}
    text = json.dumps(masked(record), ensure_ascii=False)
    assert json.dumps(value, ensure_ascii=False)[1:-1] not in text.replace("•••", "")
    assert "123456" not in text
    assert masked({"type": "event", "evtName": "Charged", "ts": 1}) == {
        "type": "event",
        "evtName": "Charged",
        "ts": 1,
    }


def test_masked_hides_properties_named_like_plain_fields() -> None:
    """Only at the top of a record do these names say what kind it is."""
    record = {"type": "profile", "ts": {"type": "Jack"}, "profileData": {"type": "Jack", "ts": 7}}
    text = json.dumps(masked(record))
    assert "Jack" not in text
    assert "7" not in text
    assert '"type": "profile"' in text


def test_pretty_escapes_invisible_characters() -> None:
    """A zero-width space makes an address invalid; reversed text reads as another one."""
    record = {"Email": "a\u200b@b.example\u00a0", "\u202egnp.exe": "x\u2028y", "ok": "👩\u200d👧 é"}
    text = pretty(record)
    assert r'"Email": "a\u200b@b.example\u00a0"' in text
    assert r'"\u202egnp.exe": "x\u2028y"' in text
    assert '"ok": "👩\u200d👧 é"' in text
    assert json.loads(text) == record


@given(VALUES)
def test_pretty_is_equivalent_json(value: Any) -> None:
    """Whatever is escaped in it."""
    assert json.loads(pretty(value)) == value


def test_masked_hides_personal_data_in_an_event_name() -> None:
    """An event may be named after a person; other names stay."""
    record = {"evtName": "Invited jack@shop.example", "ts": 1_700_000_000, "type": {"a": "b"}}
    assert masked(record) == {
        "evtName": "Invited •••",
        "ts": 1_700_000_000,
        "type": {"a": "••• 1 character"},
    }
