"""The types of options: wrong values are usage errors that name the option."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from worker.cli import ingest


@pytest.mark.parametrize("command", ["wait", "up"])
@pytest.mark.parametrize("wrong", ["nan", "-1", "soon"])
def test_seconds_with_a_value_that_is_not_a_time_are_refused(command: str, wrong: str) -> None:
    """A wait for NaN would never end: no clock reaches it."""
    done = CliRunner().invoke(ingest, [command, "--timeout", wrong])
    assert done.exit_code == 2
    assert f"'--timeout': {wrong!r} is not a number of seconds" in done.stderr


@pytest.mark.parametrize(
    ("command", "named"),
    [("dlq list --id x", "'--id'"), ("trace x", "'ID'"), ("dlq show x", "'[ID]'")],
)
def test_a_wrong_record_id_is_reported_with_its_option(command: str, named: str) -> None:
    """As every other wrong value is."""
    done = CliRunner().invoke(ingest, command.split())
    assert done.exit_code == 2
    assert done.stderr.endswith(f"Error: Invalid value for {named}: 'x' is not a record id\n")
