"""Errors of the processes, sent to Sentry where SENTRY_DSN is set; nothing is loaded where not.

What is sent is picked, not scrubbed: the kind of error and where in the code it was, the fixed text
of a log line, and names of the configuration. No variable, no line of source, no argument, no
request, no breadcrumb, and no text of an error but of our own, which name no record.
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
# The fields of our log lines that are told: names of the configuration, and numbers.
_TAGS = ("destination", "kind", "route", "task")
# Of these the text is told: it is made of names and numbers of our own. Others repeat what they
# were given, or what a vendor said; InvalidRecord names fields, and a record's may be anything.
_TOLD = ("BufferFull", "EmbeddedRedisError", "Stopped")


def report_errors(environ: Mapping[str, str] | None = None) -> bool:
    """Report this process' errors from now on; whether they are. Never raises for what is missing.

    SettingsError when SENTRY_DSN_FILE cannot be read.
    """
    dsn = secret_of("SENTRY_DSN", environ).reveal()
    if not dsn:
        return False
    try:
        _start(dsn)
    except ImportError as error:
        log.warning("no error reports: install the extra `sentry`", missing=error.name)
        return False
    except ValueError:  # BadDsn; its text repeats the DSN
        log.warning("no error reports: SENTRY_DSN is no DSN")
        return False
    return True


def _start(dsn: str) -> None:
    import sentry_sdk
    from sentry_sdk.integrations.atexit import AtexitIntegration
    from sentry_sdk.integrations.dedupe import DedupeIntegration
    from sentry_sdk.integrations.excepthook import ExcepthookIntegration
    from sentry_sdk.integrations.logging import LoggingIntegration
    from sentry_sdk.integrations.threading import ThreadingIntegration

    sentry_sdk.init(
        dsn=dsn,
        release=_release(),
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[
            LoggingIntegration(level=None, event_level=logging.ERROR),
            ExcepthookIntegration(),
            ThreadingIntegration(propagate_scope=False),
            DedupeIntegration(),
            AtexitIntegration(callback=lambda *_: None),  # what is left, for `shutdown_timeout`
        ],
        before_send=picked,
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


def picked(event: Event, hint: Hint) -> Event:
    """The event that is sent in place of one: what is known to hold no record and no secret."""
    found: dict[str, Any] = dict(event)
    kept = {name: found[name] for name in _EVENT if name in found}
    record = hint.get("log_record")
    if record is not None:
        kept["logentry"] = {"message": _fixed_text(record)}
        kept["tags"] = _tags(record)
    values = (found.get("exception") or {}).get("values") or _pending(record)
    if values:
        kept["exception"] = {"values": [_exception(each) for each in values]}
    return kept  # type: ignore[return-value] # a TypedDict, all of whose fields may be missing


def _fixed_text(record: logging.LogRecord) -> str:
    """A line's text without what was filled in; ours are structured, and have it apart."""
    if isinstance(record.msg, dict):
        return str(record.msg.get("event", ""))
    # A text put together by its caller may hold anything; a template with gaps holds only gaps.
    return str(record.msg) if record.args else f"{record.module}.{record.funcName}"


def _tags(record: logging.LogRecord) -> dict[str, str]:
    if isinstance(record.msg, dict):
        return {name: str(record.msg[name]) for name in _TAGS if name in record.msg}
    args = record.args
    named = args.get("name") if isinstance(args, Mapping) else None  # Celery's own of a task
    return {"task": str(named)} if named and record.name == "celery.app.trace" else {}


def _pending(record: logging.LogRecord | None) -> list[dict[str, Any]]:
    """The error that a structured line was written about, which the integration does not see."""
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
    told = found.get("module") == "worker.errors" and found.get("type") in _TOLD
    frames = (found.get("stacktrace") or {}).get("frames") or []
    return {
        "type": found.get("type"),
        "module": found.get("module"),
        "value": found.get("value") if told else "",
        "stacktrace": {
            "frames": [{name: frame[name] for name in _FRAME if name in frame} for frame in frames]
        },
    }
