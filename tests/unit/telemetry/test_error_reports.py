"""When error reports are set up, and where."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from worker.telemetry.error_reports import report_errors


def test_report_errors_without_a_valid_dsn_reports_nothing() -> None:
    """A missing or malformed DSN stops no process."""
    assert not report_errors({})
    assert not report_errors({"SENTRY_DSN": "not an address"})


@pytest.mark.parametrize("module", ["worker.app", "worker.gateway.__main__"])
def test_every_process_reports_errors(module: str) -> None:
    """Workers, beats and gateways do so where they set up their log."""
    spec = find_spec(module)
    assert spec
    assert spec.origin
    assert "    report_errors()\n" in Path(spec.origin).read_text()
