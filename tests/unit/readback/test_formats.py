"""The file formats of an export."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import InvalidQuery
from worker.readback import formats
from worker.readback.formats import COLUMNS, Csv, JsonLines, encoder_of, format_of, to_parquet

EVENT = {
    "profile": {"identity": "42", "objectId": "a8ff", "platform": "Web", "profileData": {"c": "b"}},
    "ts": 20151023140416,
    "event_props": {"value": 'pizza, "hot"\n', "n": 1, "a.b": True},
    "session_props": {"session_source": "Direct"},
    "extra": [1],
}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
)


@given(st.lists(st.dictionaries(st.text(max_size=10), JSON, max_size=4), max_size=4))
def test_json_lines_round_trip(records: list[dict[str, Any]]) -> None:
    """Any event is one line, even with lone surrogates and large numbers."""
    lines = JsonLines().encode(records).splitlines()
    assert [json.loads(line) for line in lines] == records


def test_json_lines_keep_a_lone_surrogate() -> None:
    """It stays escaped, as the vendor may have sent it."""
    assert JsonLines().encode([{"a": "\ud800"}]) == b'{"a":"\\ud800"}\n'


def test_csv_row_holds_the_whole_event() -> None:
    """Every event has the same columns; other fields are in `other`."""
    made = Csv()
    read = csv.DictReader(io.StringIO((made.header + made.encode([EVENT, {}])).decode()))
    first, second = list(read)
    assert tuple(first) == COLUMNS
    assert (first["ts"], first["identity"], first["platform"]) == ("20151023140416", "42", "Web")
    assert json.loads(first["event_props"]) == EVENT["event_props"]
    assert json.loads(first["other"]) == {"extra": [1]}
    assert set(second.values()) == {""}


@given(st.lists(st.lists(st.text("ab,\"\r\n'", max_size=6), min_size=2, max_size=2), max_size=4))
def test_csv_cell_may_contain_any_line_end(rows: list[list[str]]) -> None:
    """A lone CR is quoted like every other line end: no row is torn."""
    made = Csv(("a", "b"))
    text = made.encode([dict(zip("ab", row, strict=True)) for row in rows]).decode()
    assert list(csv.reader(io.StringIO(text, newline=""), strict=True)) == rows
    assert text.count("\n") >= len(rows)
    assert Csv(("a",)).encode([{"a": "x\ry"}]) == b'"x\ry"\n'


def test_csv_columns_can_be_chosen() -> None:
    """A path leads into the event, also by a key with a dot; a missing value is empty."""
    made = Csv(("event_props.n", "event_props.a.b", "profile.profileData.c", "nothing.here"))
    assert made.encode([EVENT]) == b"1,true,b,\n"


def test_format_of_follows_the_files_suffix() -> None:
    """The suffix decides unless a format is given; an unavailable one is refused."""
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


def test_format_of_parquet_without_pyarrow_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the extra and the other formats."""
    monkeypatch.setattr(formats, "find_spec", lambda _: None)
    with pytest.raises(InvalidQuery, match=r"ingestion-worker\[export\].*jsonl or csv"):
        format_of(Path("a.parquet"), None)


def test_to_parquet_keeps_every_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No line is lost between two chunks of rows."""
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(formats, "ROWS_AT_ONCE", 3)
    lines, out = tmp_path / "lines", tmp_path / "out.parquet"
    events = [EVENT | {"ts": number} for number in range(10)]
    lines.write_bytes(encoder_of("parquet").encode(events))
    to_parquet(lines, out)
    assert parquet.read_table(out).column("ts").to_pylist() == [str(n) for n in range(10)]
