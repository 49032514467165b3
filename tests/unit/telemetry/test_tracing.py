"""When spans are made."""

from __future__ import annotations

import pytest

from worker.telemetry.tracing import spans


@pytest.mark.parametrize(
    "environ",
    [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"}],
)
def test_spans_without_an_address_returns_none(environ: dict[str, str]) -> None:
    """Nor is any made when OpenTelemetry is turned off."""
    assert spans(environ) is None
