"""A real worker, observed from outside: its metrics, its traces and its error reports."""

from __future__ import annotations

import json
from contextlib import closing

from support import fault_scripts
from support.commands import CREDENTIALS, Cli
from support.http_sink import HttpSink
from support.polling import poll_until
from support.processes import Processes
from support.scrape import Scrape
from support.vendor import LoopbackVendor
from worker import Producer

PERSON = "jane.doe@example.com"
PASSCODE = CREDENTIALS["CLEVERTAP_PASSCODE"]
DELIVERED = {"destination": "clevertap", "kind": "event"}


def test_worker_at_level_warning_does_not_log_that_it_is_ready(
    redis_url: str, processes: Processes
) -> None:
    """The log level applies to our own messages too."""
    alive = processes.folder / "alive"
    env = {"REDIS_URL": redis_url, **CREDENTIALS, "INGEST_HEARTBEAT_PATH": str(alive)}
    quiet = processes.start("worker", "--loglevel=WARNING", env=env)
    poll_until(alive.exists, 60)
    assert quiet.stop() == 0
    assert "Warm shutdown" in quiet.output()
    assert "[info " not in quiet.output()


def test_worker_reports_metrics_spans_and_errors(
    redis_url: str, vendor: LoopbackVendor, processes: Processes, http_sink: HttpSink
) -> None:
    """A delivery and a rejection of credentials are in the metrics, each with a span, and the
    rejection is reported; neither these nor the debug log contain personal data or credentials."""
    env = {
        "REDIS_URL": redis_url,
        **CREDENTIALS,
        "CLEVERTAP_BASE_URL": vendor.base_url,
        "INGEST_MAX_WAIT_S": "0",
        "OTEL_EXPORTER_OTLP_ENDPOINT": http_sink.url,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "SENTRY_DSN": f"http://public@127.0.0.1:{http_sink.port}/7",
    }
    cli = Cli(env)
    worker = processes.start("worker", "--loglevel=DEBUG", env=env)
    processes.start("beat", env={**env, "INGEST_BEAT_SCHEDULE": str(processes.folder / "beat")})

    def metric(name: str, **labels: str) -> float:
        found = Scrape.of(cli("metrics").stdout)
        return found.value(name, **labels)

    with closing(Producer.from_env(env)) as producer:
        producer.event("Product viewed", {"Email": PERSON}, identity=PERSON)
        poll_until(lambda: metric("ingest_records_delivered_total", **DELIVERED) == 1)
        vendor.usual = fault_scripts.status(401, PERSON)
        producer.event("Product viewed", {"Email": PERSON}, identity=PERSON)
        state = {"destination": "clevertap", "state": "parked"}
        poll_until(lambda: metric("ingest_destination_state", **state) == 1)
    assert metric("ingest_answers_total", destination="clevertap", answer="401") == 1
    assert metric("ingest_request_duration_seconds_count", **DELIVERED) == 2
    assert metric("ingest_batch_records_sum", **DELIVERED) == 2
    assert metric("ingest_ticks_total", destination="clevertap") > 0

    def sent(path: str, text: bytes) -> bool:
        return any(path in each.path and text in each.body for each in http_sink.received)

    poll_until(lambda: sent("/v1/traces", b"401"), what="the span of the refusal", deadline_s=30)
    poll_until(lambda: sent("/envelope", b"destination parked"), what="the report", deadline_s=30)
    assert worker.stop() == 0
    log = worker.output()
    assert "[debug " in log
    leaks = [line for line in log.splitlines() if PERSON in line or PASSCODE in line]
    assert leaks == []
    assert all(PERSON.encode() not in each.body for each in http_sink.received)
    reports = [each.body for each in http_sink.received if "/envelope" in each.path]
    assert json.loads(reports[0].split(b"\n")[2])["tags"] == {"destination": "clevertap"}
