"""A line for a request: which route, whose key, how many records, what came of it. Never its path
or query as they came, its headers or its body: those may hold keys and personal data."""

from __future__ import annotations

from worker.telemetry.logs import get_logger

from .endpoint import RequestInfo
from .middleware import Observer

log = get_logger(__name__)


def access_log(which: str) -> Observer | None:
    """An observer that writes lines for "all" requests or only for "errors"; None for "none"."""
    if which == "none":
        return None
    lowest = 400 if which == "errors" else 0

    def observe(method: str, seen: RequestInfo, status: int, seconds: float) -> None:
        if status < lowest:
            return
        log.info(
            "request",
            method=method if method in _METHODS else "other",
            route=seen.route or "unknown",
            status=status,
            ms=round(seconds * 1000, 1),
            producer=seen.producer,
            destination=seen.destination,
            records=seen.records,
            refused=seen.refused,
        )

    return observe


_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
