"""`ingest send` and `ingest check` without a buffer: lines in, counts and rejections out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from support.commands import event, json_lines
from worker.cli import ingest


def check(*options: str, stdin: str | bytes = "", command: str = "check") -> Result:
    """Run `ingest check`, or the command named, in this process."""
    return CliRunner().invoke(ingest, [command, *options], input=stdin)


def rejected(result: Result) -> list[dict[str, Any]]:
    """The lines reported on standard error."""
    return [json.loads(line) for line in result.stderr.splitlines()]


def counts(result: Result) -> tuple[int, int, int]:
    """The exit code, the accepted and the rejected lines."""
    tally = json.loads(result.stdout)
    return result.exit_code, tally["accepted"], tally["rejected"]


def test_check_with_bad_lines_reports_number_reason_and_record() -> None:
    """Bad records, bad JSON and non-objects are each reported on standard error, in order."""
    lines = [event(0), {"type": "event"}, "", "{nonsense", [1], event(1)]
    done = check(stdin=json_lines(lines))
    assert counts(done) == (2, 2, 3)
    assert [each["line"] for each in rejected(done)] == [2, 4, 5]
    assert [each["record"] for each in rejected(done)] == [{"type": "event"}, "{nonsense", [1]]
    assert "evtName" in rejected(done)[0]["errors"]
    assert all(each["errors"] for each in rejected(done))


def test_check_of_a_deeply_nested_record_rejects_it_alone() -> None:
    """It is reported with its line and its field, and the lines after it are accepted."""
    deep = json.dumps({**event(0), "evtData": "!"}).replace('"!"', "[" * 1000 + "]" * 1000)
    done = check(stdin=json_lines([deep, event(1)]))
    assert counts(done) == (2, 1, 1)
    (line,) = rejected(done)
    assert (line["line"], line["record"]) == (1, None)
    assert line["errors"]


def test_check_of_a_windows_file_accepts_it(tmp_path: Path) -> None:
    """A byte order mark, CRLF and a missing end of the last line cost no record."""
    file = tmp_path / "records.jsonl"
    text = json_lines([event(0), event(1)]).replace("\n", "\r\n").removesuffix("\r\n")
    file.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert counts(check(str(file))) == (0, 2, 0)


@pytest.mark.parametrize(
    ("encoding", "byte"),
    [("latin-1", "byte 0xE9 at position 5"), ("utf-16", "byte 0xFF at position 1")],
)
def test_check_of_a_file_that_is_not_utf8_names_the_byte(encoding: str, byte: str) -> None:
    """The parser complains of surrogates then, which does not help to find the byte."""
    done = check(stdin='"café"'.encode(encoding))
    assert done.exit_code == 2
    (error,) = rejected(done)[0]["errors"]["line"]
    assert error == f"is not valid UTF-8: {byte}"


@pytest.mark.parametrize("command", ["send", "check"])
@pytest.mark.parametrize("wrong", ["7-3", "7x"])
def test_lines_option_with_a_wrong_range_is_a_usage_error(command: str, wrong: str) -> None:
    """A range that ends before it begins, or is not one, is refused before anything is read."""
    done = check("--lines", wrong, command=command)
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"Invalid value for '--lines': {wrong!r} is not a" in done.stderr


def test_lines_option_beyond_the_end_is_reported() -> None:
    """A range behind the end of the file is not an error, and not silent either."""
    text = json_lines(map(event, range(3)))
    behind = check("--lines", "999999,7-", stdin=text)
    assert counts(behind) == (0, 0, 0)
    assert behind.stderr == "no line matches --lines 999999,7-: the input has 3\n"
    inside = check("--lines", "3-", stdin=text)
    assert (counts(inside), inside.stderr) == ((0, 1, 0), "")
