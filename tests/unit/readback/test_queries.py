"""The questions, before they are asked; the forms of an event in a file; how tallies are merged."""

from __future__ import annotations

import csv
import io
import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import InvalidQuery
from worker.readback import formats
from worker.readback.checkpoint import Checkpoint
from worker.readback.delivered_counts import EventDeliveries, merge_spellings
from worker.readback.formats import COLUMNS, Csv, JsonLines, encoder_of, format_of, to_parquet
from worker.readback.queries import (
    NOT_EXPORTABLE,
    CountCondition,
    CountQuery,
    ExportQuery,
    day_number,
)

EVENT = {
    "profile": {"identity": "42", "objectId": "a8ff", "platform": "Web", "profileData": {"c": "b"}},
    "ts": 20151023140416,
    "event_props": {"value": 'pizza, "hot"\n', "n": 1, "a.b": True},
    "session_props": {"session_source": "Direct"},
    "extra": [1],
}


def test_days_are_days() -> None:
    """Numbers, text and dates are days alike; what the calendar does not have is refused."""
    assert {day_number(20240229), day_number("20240229"), day_number(date(2024, 2, 29))} == {
        20240229
    }
    for odd in ("20230229", "2023-01-01", "today", "", 0, "٢٠٢٤٠٢٢٩"):
        with pytest.raises(InvalidQuery, match="days are YYYYMMDD"):
            day_number(odd)


@pytest.mark.parametrize("event", [*NOT_EXPORTABLE, "notification  SENT"])
def test_what_the_vendor_does_not_export_is_refused_with_the_ways_out(event: str) -> None:
    """A notification's event, however it is spelt, names the three other ways to get it."""
    with pytest.raises(InvalidQuery, match=r"S3 export.*GCP export.*dashboard"):
        ExportQuery(event, 20260101, 20260102)


def test_questions_that_make_no_sense_are_not_asked() -> None:
    """A nameless event, a range that ends before it begins, a page too large."""
    with pytest.raises(InvalidQuery, match="empty"):
        CountQuery(" ", 20260101, 20260102)
    with pytest.raises(InvalidQuery, match="ends before it begins"):
        CountQuery("Charged", 20260102, 20260101)
    for size in (0, 5001):
        with pytest.raises(InvalidQuery, match="1 to 5000"):
            ExportQuery("Charged", 20260101, 20260102, batch_size=size)


def test_a_question_is_asked_as_on_the_vendors_page() -> None:
    """Body and parameters of an export; a flag that nobody set is not sent."""
    query = ExportQuery("App Launched", 20171201, 20171225, 50, app=True, events=False)
    assert query.body == {"event_name": "App Launched", "from": 20171201, "to": 20171225}
    assert query.parameters == {"batch_size": "50", "app": "true", "events": "false"}


@pytest.mark.parametrize(
    ("text", "body"),
    [
        ("value:contains:piz", {"name": "value", "operator": "contains", "value": "piz"}),
        ("At:equals:12:30", {"name": "At", "operator": "equals", "value": "12:30"}),
        ("Code:equals:007", {"name": "Code", "operator": "equals", "value": "007"}),
        ("Code:equals:42", {"name": "Code", "operator": "equals", "value": "42"}),
        ("Price:greater_than:50.5", {"name": "Price", "operator": "greater_than", "value": 50.5}),
        ('City:in:["Brno"]', {"name": "City", "operator": "in", "value": ["Brno"]}),
        ("Empty:equals:", {"name": "Empty", "operator": "equals", "value": ""}),
    ],
)
def test_a_condition_is_read_from_the_command_line(text: str, body: dict[str, Any]) -> None:
    """Text stays text, a value may hold colons, and numbers are numbers where they are compared."""
    assert CountCondition.parse(text).body == body


@pytest.mark.parametrize("text", ["", "a", "a:equals", ":equals:1", "a:Is Not:1", "a::b"])
def test_a_condition_of_another_form_is_refused(text: str) -> None:
    """What is not NAME:OPERATOR:VALUE is told by example."""
    with pytest.raises(InvalidQuery, match="NAME:OPERATOR:VALUE"):
        CountCondition.parse(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
)


@given(st.lists(st.dictionaries(st.text(max_size=10), JSON, max_size=4), max_size=4))
def test_json_lines_give_back_what_went_in(records: list[dict[str, Any]]) -> None:
    """Any event is one line, and the line is the event; lone surrogates and large numbers too."""
    lines = JsonLines().encode(records).splitlines()
    assert [json.loads(line) for line in lines] == records


def test_a_lone_surrogate_is_kept() -> None:
    """What is no UTF-8 stays escaped, as the vendor may have sent it."""
    assert JsonLines().encode([{"a": "\ud800"}]) == b'{"a":"\\ud800"}\n'


def test_a_row_holds_all_of_an_event() -> None:
    """CSV has the same columns for every event; what has no column of its own is in other."""
    made = Csv()
    read = csv.DictReader(io.StringIO((made.header + made.encode([EVENT, {}])).decode()))
    first, second = list(read)
    assert tuple(first) == COLUMNS
    assert (first["ts"], first["identity"], first["platform"]) == ("20151023140416", "42", "Web")
    assert json.loads(first["event_props"]) == EVENT["event_props"]
    assert json.loads(first["other"]) == {"extra": [1]}
    assert set(second.values()) == {""}


@given(st.lists(st.lists(st.text("ab,\"\r\n'", max_size=6), min_size=2, max_size=2), max_size=4))
def test_a_cell_may_hold_any_line_end(rows: list[list[str]]) -> None:
    """A CR alone is quoted like every other line end: no row is torn."""
    made = Csv(("a", "b"))
    text = made.encode([dict(zip("ab", row, strict=True)) for row in rows]).decode()
    assert list(csv.reader(io.StringIO(text, newline=""), strict=True)) == rows
    assert text.count("\n") >= len(rows)
    assert Csv(("a",)).encode([{"a": "x\ry"}]) == b'"x\ry"\n'


def test_columns_may_be_chosen() -> None:
    """A path leads into the event, also by a key that holds a dot; what is not there is empty."""
    made = Csv(("event_props.n", "event_props.a.b", "profile.profileData.c", "nothing.here"))
    assert made.encode([EVENT]) == b"1,true,b,\n"


def test_formats_go_by_the_files_name() -> None:
    """The ending chooses where nothing else does; what cannot be had is told before it begins."""
    assert [format_of(Path(name), None) for name in ("a.csv", "a.PARQUET", "a.txt", "a")] == [
        "csv",
        "parquet",
        "jsonl",
        "jsonl",
    ]
    assert format_of(Path("a.csv"), "jsonl") == "jsonl"
    for out, form, paths in (
        (None, "parquet", ()),
        (Path("a"), "xml", ()),
        (Path("a"), None, ("x",)),
    ):
        with pytest.raises(InvalidQuery):
            format_of(out, form, paths)


def test_parquet_without_pyarrow_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where pyarrow is missing the sentence names the extra and the other formats."""
    monkeypatch.setattr(formats, "find_spec", lambda _: None)
    with pytest.raises(InvalidQuery, match=r"ingestion-worker\[export\].*jsonl or csv"):
        format_of(Path("a.parquet"), None)


def test_parquet_holds_every_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No line is lost between two chunks of rows."""
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(formats, "_ROWS_AT_ONCE", 3)
    lines, out = tmp_path / "lines", tmp_path / "out.parquet"
    events = [EVENT | {"ts": number} for number in range(10)]
    lines.write_bytes(encoder_of("parquet").encode(events))
    to_parquet(lines, out)
    assert parquet.read_table(out).column("ts").to_pylist() == [str(n) for n in range(10)]


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    """What was saved is found; no file is no checkpoint, and another file is none of ours."""
    path = tmp_path / "x.checkpoint"
    assert Checkpoint.load(path) is None
    saved = Checkpoint({"event_name": "a"}, "cur%2Fsor", 10, 2)
    saved.save(path)
    assert Checkpoint.load(path) == saved
    path.write_text("{}")
    with pytest.raises(InvalidQuery, match="not a valid checkpoint"):
        Checkpoint.load(path)


def test_names_are_merged_as_the_vendor_compares_them() -> None:
    """Spellings that the vendor takes for one are one, under the most frequent of them."""
    found = merge_spellings({"Sign Up": 2, "signup": 5, "SIGNUP": 5, "Charged": 1})
    assert found == {
        "signup": EventDeliveries(("SIGNUP", "signup", "Sign Up"), 12),
        "charged": EventDeliveries(("Charged",), 1),
    }
