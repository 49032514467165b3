"""The page `/metrics`, and who may read it.

It holds numbers, names of destinations and vendors' codes: no record and no secret. Still it shows
how much a business sells, so it needs INGEST_METRICS_TOKEN as a bearer token; without that setting
only programs on this machine may read it.
"""

from __future__ import annotations

import hmac
import ipaddress
import threading
import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from ...connections.clients import redis_url, worker_client
from ...settings.settings import Settings
from ...vendors.secret import Secret
from .collector import StatusCollector

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
# However many clients ask, Redis is read once in this time.
FRESH_S = 1.0
# A request with one of these came through a proxy on this machine.
FORWARDED_HEADERS = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


class MetricsPage:
    """The text of a scrape; thread-safe."""

    def __init__(
        self, settings: Settings, token: Secret, clock: Callable[[], float] = time.monotonic
    ) -> None:
        # It fails after ten seconds: the next scrape is the retry.
        client = worker_client(redis_url(settings), retries=0)
        self._registry = CollectorRegistry()
        self._registry.register(StatusCollector(settings, client))
        self._token = token
        self._clock = clock
        self._lock = threading.Lock()
        self._text = b""
        self._until = float("-inf")

    def text(self) -> bytes:
        """Return the metrics, at most a second old; it blocks until Redis answers."""
        with self._lock:
            if self._clock() >= self._until:
                self._text = generate_latest(self._registry)
                self._until = self._clock() + FRESH_S
            return self._text

    def refusal(self, address: str, header: Callable[[str], str]) -> int:
        """Return the HTTP status to refuse a client with, 0 when it may read.

        ``address`` is the client's, and ``header`` returns a header by its lower-case name.
        """
        if token := self._token.reveal():
            scheme, _, shown = header("authorization").partition(" ")
            same = hmac.compare_digest(shown.strip().encode(), token.encode())
            return 0 if scheme.lower() == "bearer" and same else 401
        if any(header(name) for name in FORWARDED_HEADERS) or not _is_loopback(address):
            return 403
        return 0


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
