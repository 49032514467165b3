"""Log a line per request: route, producer, records, status and time.

Never log the raw path, the query, the headers or the body: they may hold keys and personal data.
"""

from __future__ import annotations

from worker.telemetry.logs import get_logger

from .endpoint import RequestInfo
from .middleware import Observer

log = get_logger(__name__)


def access_log(which: str) -> Observer | None:
    """Return an observer that logs "all" requests or only "errors"; None for "none"."""
    if which == "none":
        return None
    lowest = 400 if which == "errors" else 0

    def observe(method: str, info: RequestInfo, status: int, seconds: float) -> None:
        if status < lowest:
            return
        log.info(
            "request",
            method=method if method in _METHODS else "other",
            route=info.route or "unknown",
            status=status,
            ms=round(seconds * 1000, 1),
            producer=info.producer,
            destination=info.destination,
            records=info.records,
            refused=info.rejected,
        )

    return observe


_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
