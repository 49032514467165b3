"""Sends errors to Sentry when SENTRY_DSN is set; otherwise loads nothing.

An event is built from an allow-list, not scrubbed: the type of error and its place in the code, the
fixed text of a log line, and names of the configuration. No variable, source line, argument,
request or breadcrumb, and no error text except our own, which name no record.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from ..settings.environment import secret_of
from .logs import get_logger

if TYPE_CHECKING:
    from sentry_sdk.types import Event, Hint

log = get_logger(__name__)

_EVENT = ("event_id", "timestamp", "level", "logger", "platform", "release", "environment", "sdk")
_FRAME = ("filename", "function", "module", "lineno", "in_app")
# The log fields that are sent: names of the configuration, and numbers.
_TAGS = ("destination", "kind", "route", "task")
# Errors that are reported with their text: it has only our names and numbers. Others quote their
# input or a vendor; InvalidRecord names fields, and a record's may be anything.
_WITH_TEXT = ("BufferFull", "EmbeddedRedisError", "Stopped")


def report_errors(environ: Mapping[str, str] | None = None) -> bool:
    """Report this process' errors from now on; return False without a DSN or the extra `sentry`.

    SettingsError when SENTRY_DSN_FILE cannot be read.
    """
    dsn = secret_of("SENTRY_DSN", environ).reveal()
    if not dsn:
        return False
    try:
        _start(dsn)
        return True
    except ImportError as error:
        log.warning("no error reports: install the extra `sentry`", missing=error.name)
    except ValueError:  # BadDsn; its text repeats the DSN
        log.warning("no error reports: SENTRY_DSN is not a DSN")
    return False


def _start(dsn: str) -> None:
    import sentry_sdk
    from sentry_sdk.integrations import atexit, dedupe, excepthook, threading
    from sentry_sdk.integrations.logging import LoggingIntegration

    sentry_sdk.init(
        dsn=dsn,
        release=_release(),
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[
            LoggingIntegration(level=None, event_level=logging.ERROR),
            excepthook.ExcepthookIntegration(),
            threading.ThreadingIntegration(propagate_scope=False),
            dedupe.DedupeIntegration(),
            atexit.AtexitIntegration(callback=lambda *_: None),  # flushes for `shutdown_timeout`
        ],
        before_send=allowed,
        include_local_variables=False,
        include_source_context=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        send_client_reports=False,
        auto_session_tracking=False,
        shutdown_timeout=2,
    )


def _release() -> str | None:
    try:
        return f"ingestion-worker@{version('ingestion-worker')}"
    except PackageNotFoundError:
        return None


def allowed(event: Event, hint: Hint) -> Event:
    """Return the event to send instead: only what is known to hold no record and no secret."""
    found: dict[str, Any] = dict(event)
    sent = {name: found[name] for name in _EVENT if name in found}
    record = hint.get("log_record")
    if record is not None:
        sent |= _log_line(record)
    values = (found.get("exception") or {}).get("values") or _pending(record)
    if values:
        sent["exception"] = {"values": [_exception(each) for each in values]}
    return sent  # type: ignore[return-value] # a TypedDict without required fields


def _log_line(record: logging.LogRecord) -> dict[str, Any]:
    """Return a log line's text without its values, and the tags that it names."""
    if isinstance(record.msg, dict):  # ours
        text = record.msg.get("event", "")
        tags = {name: str(record.msg[name]) for name in _TAGS if name in record.msg}
    else:
        # A text formatted by its caller may hold anything; a template holds no values.
        text = record.msg if record.args else f"{record.module}.{record.funcName}"
        named = record.args.get("name") if isinstance(record.args, Mapping) else None
        # Celery's line about a task
        tags = {"task": str(named)} if named and record.name == "celery.app.trace" else {}
    return {"logentry": {"message": str(text)}, "tags": tags}


def _pending(record: logging.LogRecord | None) -> list[dict[str, Any]]:
    """Return the error of a structured log line, which the integration does not see."""
    if record is None or not isinstance(record.msg, dict) or not record.msg.get("exc_info"):
        return []
    from sentry_sdk.utils import event_from_exception

    error = sys.exc_info()[1]
    if error is None:
        return []
    options: dict[str, Any] = {"include_local_variables": False, "include_source_context": False}
    event, _ = event_from_exception(error, client_options=options)
    values: list[dict[str, Any]] = event["exception"]["values"]
    return values


def _exception(found: Mapping[str, Any]) -> dict[str, Any]:
    with_text = found.get("module") == "worker.errors" and found.get("type") in _WITH_TEXT
    frames = (found.get("stacktrace") or {}).get("frames") or []
    return {
        "type": found.get("type"),
        "module": found.get("module"),
        "value": found.get("value") if with_text else "",
        "stacktrace": {
            "frames": [{name: frame[name] for name in _FRAME if name in frame} for frame in frames]
        },
    }
