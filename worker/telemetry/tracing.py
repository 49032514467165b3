"""A span per upload request, sent by OpenTelemetry when a collector's address is set.

A span has destination, kind, number of records, attempt, answer, and the batch's id, which the log
has too: nothing of a record. Without an address nothing of OpenTelemetry is loaded.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from threading import Thread
from typing import TYPE_CHECKING, Any

from ..errors import SettingsError
from ..settings.environment import secret_of
from ..settings.third_party import TRACE_ENDPOINTS, check_traces
from .logs import get_logger

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

log = get_logger(__name__)

# A collector that is away must not keep a worker from stopping.
CLOSE_WITHIN_S = 2.0


class Spans:
    """Makes the spans of one process; thread-safe, and never waits for a collector."""

    def __init__(self, provider: TracerProvider) -> None:
        self.provider = provider
        self._tracer = provider.get_tracer("worker")

    def request(
        self, answer: str, began_ns: int, took_s: float, *, kind: str, **fields: str | int
    ) -> None:
        """Record one upload request; ``answer`` is its HTTP status or why there is none."""
        from opentelemetry.trace import SpanKind, StatusCode

        fields = {"kind": kind, **fields, "answer": answer}
        attributes = {f"ingest.{name}": value for name, value in fields.items()}
        status = int(answer) if answer.isdigit() else 0
        if status:
            attributes["http.response.status_code"] = status
        span = self._tracer.start_span(
            f"deliver {kind}", kind=SpanKind.CLIENT, start_time=began_ns, attributes=attributes
        )
        if not 200 <= status < 300:
            span.set_status(StatusCode.ERROR, answer)
        span.end(end_time=began_ns + int(took_s * 1e9))

    def close(self) -> None:
        """Send the remaining spans, for at most two seconds."""
        closing = Thread(target=self.provider.shutdown, daemon=True)
        closing.start()
        closing.join(CLOSE_WITHIN_S)


class QuietExporter:
    """An exporter that logs once when the collector fails, and once when it recovers.

    OpenTelemetry's own logs several warnings and errors per batch, and errors are reported
    (`error_reports`).
    """

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans as OpenTelemetry does; those that cannot be sent are dropped."""
        result = self._exporter.export(spans)
        failed = result.name != "SUCCESS"
        if failed and not self._failing:
            log.warning("could not send traces to the collector: dropping them")
        elif self._failing and not failed:
            log.info("sending traces to the collector again")
        self._failing = failed
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def spans(environ: Mapping[str, str] | None = None) -> Spans | None:
    """Return the maker of spans if an address is set and the extra `otel` is installed.

    A malformed address, or an unreadable file of headers, is logged.
    """
    environ = os.environ if environ is None else environ
    disabled = environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if disabled or not any(environ.get(name) for name in TRACE_ENDPOINTS):
        return None
    try:
        check_traces(environ)
        provider = _provider(environ)
    except SettingsError as error:  # costs the spans, not the records
        log.warning("no traces", error=str(error))
        return None
    except ImportError as error:
        log.warning("no traces: install the extra `otel`", missing=error.name)
        return None
    return Spans(provider)


def _provider(environ: Mapping[str, str]) -> TracerProvider:
    """Configure the SDK, which reads OTEL_TRACES_SAMPLER and the like on its own."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.util.re import parse_env_headers

    name = environ.get("OTEL_SERVICE_NAME") or "ingestion-worker"
    provider = TracerProvider(
        resource=Resource.create({"service.name": name}), shutdown_on_exit=False
    )
    options: dict[str, Any] = {}
    if headers := secret_of("OTEL_EXPORTER_OTLP_HEADERS", environ).reveal():
        options["headers"] = parse_env_headers(headers, liberal=True)
    logging.getLogger("opentelemetry.exporter").setLevel(logging.CRITICAL)  # see QuietExporter
    exporter = QuietExporter(OTLPSpanExporter(**options))
    provider.add_span_processor(BatchSpanProcessor(exporter))  # type: ignore[arg-type] # by its methods: no import of the base class
    return provider
