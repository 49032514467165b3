"""Query parameters."""

from __future__ import annotations

import pytest

from worker.gateway.server.endpoint import parameter


@pytest.mark.parametrize(
    ("query", "values"),
    [
        (b"", set()),
        (b"a=1", set()),
        (b"dryRun=1", {"1"}),
        (b"DRYRUN=1", {"1"}),
        (b"dryRun", {""}),
        (b"dryRun=0&dryRun=%31", {"0", "1"}),
        (b"\xff=\xfe", set()),
    ],
)
def test_parameter_in_any_case_returns_all_decoded_values(query: bytes, values: set[str]) -> None:
    """The name matches in any case, and all values are decoded once."""
    assert parameter(query, "dryRun") == values
