"""Sentry gets what went wrong and where, and no data of our users."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from support.environment import environment
from support.http_sink import HttpSink

PERSON = "jane.doe@example.com"
# A process that fails in every way ours can: with a person's address in variables, in errors'
# texts, in their causes, and in what other libraries log.
FAILING = """
import logging, sys, threading
from worker.errors import BufferFull, InvalidRecord, VendorError
from worker.telemetry.error_reports import report_errors
from worker.telemetry.logs import configure, get_logger
configure()
assert report_errors()
log = get_logger("worker.delivery.deliverer")
person = sys.argv[1]
def fail(error):
    secret = {"Email": person}
    try:
        {}[secret["Email"]]
    except KeyError as cause:
        raise error from cause
def caught(error, report):
    try:
        fail(error)
    except Exception:
        report()
other = logging.getLogger("some.library")
caught(
    ValueError(f"no good: {person}"),
    lambda: log.exception("a tick failed", destination="main", error=person),
)
caught(VendorError(f"the vendor says {person}"), lambda: other.exception("lost %s", person))
caught(BufferFull("main: the buffer holds 5"), lambda: other.exception(f"of {person}"))
celery = logging.getLogger("celery.app.trace")
context = {"name": "ingest.drain", "exc": person, "args": person}
more = {"exc_info": True, "extra": {"data": {"args": person}}}
caught(OSError(person), lambda: celery.error("Task %(name)s raised: %(exc)s", context, **more))
log.error("destination parked", destination="main", reason=person)
field = f"evtData.{person}"
caught(InvalidRecord({field: ["must be a single value"]}), lambda: log.exception("not taken"))
other.warning("only a warning")
thread = threading.Thread(target=fail, args=(RuntimeError(person),))
thread.start()
thread.join()
fail(LookupError(person))
"""


def events(sink: HttpSink) -> list[dict[str, Any]]:
    """Return the events in the envelopes that were posted."""
    found = []
    for posted in sink.received:
        lines = posted.body.split(b"\n")
        for header, payload in zip(lines[1::2], lines[2::2], strict=False):
            if header and json.loads(header).get("type") == "event":
                found.append(json.loads(payload))
    return found


def types(event: dict[str, Any]) -> Sequence[str]:
    """Return the types of error in an event, its cause first."""
    return [each["type"] for each in event.get("exception", {}).get("values", [])]


def test_reports_have_the_place_and_no_value(http_sink: HttpSink, tmp_path: Path) -> None:
    """Each failure is reported with its type and its place in the code, without any value."""
    program = tmp_path / "failing.py"
    program.write_text(FAILING)
    dsn = tmp_path / "dsn"
    dsn.write_text(f"http://public@127.0.0.1:{http_sink.port}/7\n")
    env = environment({"SENTRY_DSN_FILE": str(dsn), "SENTRY_ENVIRONMENT": "test"})
    done = subprocess.run(
        [sys.executable, str(program), PERSON], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "LookupError" in done.stderr
    assert all(PERSON.encode() not in posted.body for posted in http_sink.received)
    found = events(http_sink)
    assert [types(each)[-1:] for each in found] == [
        ["ValueError"],
        ["VendorError"],
        ["BufferFull"],
        ["OSError"],
        [],
        ["InvalidRecord"],
        ["RuntimeError"],
        ["LookupError"],
    ]
    said = [each.get("logentry", {}).get("message") for each in found]
    assert said[0] == "a tick failed"
    assert said[1] == "lost %s"
    assert said[4] == "destination parked"
    assert found[0]["tags"] == {"destination": "main"}
    assert found[3]["tags"] == {"task": "ingest.drain"}
    assert found[2]["exception"]["values"][-1]["value"] == "main: the buffer holds 5"
    for event in found:
        assert event["environment"] == "test"
        assert not {"breadcrumbs", "extra", "modules", "request", "user"} & set(event)
        for value in event.get("exception", {}).get("values", []):
            for frame in value["stacktrace"]["frames"]:
                assert {"function", "lineno"} <= set(frame)
                assert not {"vars", "context_line", "pre_context", "abs_path"} & set(frame)
