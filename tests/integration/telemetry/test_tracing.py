"""A span per request, sent to a collector if one is set, without anything of a record."""

from __future__ import annotations

import subprocess
import sys

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from support import fault_scripts
from support.environment import environment
from support.http_sink import HttpSink
from support.pipeline import Pipeline, identities
from support.polling import poll_until
from support.vendor import LoopbackVendor
from worker.app.runtime import traced_by
from worker.telemetry.tracing import Spans, spans

PERSON = "jane.doe@example.com"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    """An exporter that keeps the spans."""
    return InMemorySpanExporter()


@pytest.fixture
def traced(pipeline: Pipeline, exporter: InMemorySpanExporter) -> Pipeline:
    """A pipeline with a deliverer that makes spans."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    pipeline.deliverer.on_request = traced_by(Spans(provider), pipeline.destination.name)
    return pipeline


def test_each_request_is_a_span(
    traced: Pipeline, vendor: LoopbackVendor, exporter: InMemorySpanExporter
) -> None:
    """It has destination, kind, size, attempt, answer and time, and no identity."""
    traced.accept([PERSON, *identities(9)])
    vendor.script(fault_scripts.status(503), fault_scripts.reset_after_all)
    traced.deliver()
    found = exporter.get_finished_spans()
    attributes = [(each.attributes or {}) for each in found]
    assert [each["ingest.answer"] for each in attributes] == ["503", "ambiguous", "200"]
    assert [each.get("http.response.status_code") for each in attributes] == [503, None, 200]
    attempts = [each["ingest.attempt"] for each in attributes]
    assert attempts == [1, 1, 1]  # the first two counted for none
    assert {each["ingest.records"] for each in attributes} == {10}
    assert {(each["ingest.destination"], each["ingest.kind"]) for each in attributes} == {
        ("main", "event")
    }
    codes = [each.status.status_code for each in found]
    assert codes == [StatusCode.ERROR, StatusCode.ERROR, StatusCode.UNSET]
    for span in found:
        assert span.kind is SpanKind.CLIENT
        assert span.start_time is not None
        assert span.end_time is not None
        assert span.end_time > span.start_time
        assert PERSON not in span.to_json()


def test_spans_reach_the_collector(
    traced: Pipeline, http_sink: HttpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing sends the remaining spans to the configured address, with the headers."""
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": http_sink.url,
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20abc",
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    made = spans()
    assert made is not None
    traced.deliverer.on_request = traced_by(made, "main")
    traced.accept([PERSON])
    traced.deliver()
    made.close()
    got = poll_until(lambda: http_sink.received, what="the collector got spans")
    assert got[0].path == "/v1/traces"
    assert got[0].headers["authorization"] == "Bearer abc"
    assert b"ingest.answer" in got[0].body
    assert b"ingestion-worker" in got[0].body
    assert PERSON.encode() not in got[0].body


def test_spans_with_a_malformed_address_logs_it() -> None:
    """The log names the variable, without its value; records go on."""
    code = "from worker.telemetry import tracing; assert tracing.spans() is None"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://:hunter2@h:99999"}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "OTEL_EXPORTER_OTLP_ENDPOINT: must be an address" in done.stdout + done.stderr
    assert "hunter2" not in done.stdout + done.stderr


def test_worker_without_their_settings_imports_no_extra() -> None:
    """Traces and error reports cost no import unless they are configured.

    redis-py imports OpenTelemetry's API where it is installed: that does not count.
    """
    code = (
        "import sys, redis\n"
        "before = set(sys.modules)\n"
        "from worker import app\n"
        "from worker.app import runtime\n"
        "from worker.telemetry import error_reports, tracing\n"
        "assert tracing.spans() is None\n"
        "assert not error_reports.report_errors()\n"
        "loaded = set(sys.modules) - before\n"
        "print(sorted(n for n in loaded if n.startswith(('opentelemetry', 'sentry_sdk'))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment({"OTEL_EXPORTER_OTLP_ENDPOINT": "", "SENTRY_DSN": ""}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"


# Three batches to a collector that is away, and one after it came.
AWAY = """
import sys, threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from worker.telemetry.logs import configure
from worker.app.runtime import traced_by
from worker.telemetry.tracing import spans
class Collector(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_):
        pass
configure()
made = spans()
def batch():
    made.request("200", 0, 0.1, destination="main", kind="event", records=1, attempt=1, batch="b")
    made.provider.force_flush()
for _ in range(3):
    batch()
server = HTTPServer(("127.0.0.1", int(sys.argv[1])), Collector)
threading.Thread(target=server.serve_forever, daemon=True).start()
batch()
made.close()
"""


def test_collector_that_fails_is_logged_once(free_port: int) -> None:
    """Not once per batch, and never as an error, which would be reported; so is its recovery."""
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{free_port}",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", AWAY, str(free_port)],
        env=environment(env),
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line]
    assert len(lines) == 2, lines
    assert "warning" in lines[0]
    assert "could not send traces to the collector" in lines[0]
    assert "sending traces to the collector again" in lines[1]
