"""The page `/metrics`: what is on it, and who may read it.

It holds numbers, names of destinations and vendors' codes: no record and no secret. Still it tells
how much a business sells, so it is not for everybody: with INGEST_METRICS_TOKEN for who shows it as
a bearer token, and without for programs on this machine.
"""

from __future__ import annotations

import hmac
import ipaddress
import threading
import time
from collections.abc import Callable

import redis
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from ...connections.clients import redis_url, worker_client
from ...settings.settings import Settings
from ...vendors.secret import Secret
from .collector import StatusCollector

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
# However many ask, Redis is asked once in so long.
FRESH_S = 1.0
# A request with one of these came from elsewhere, by a proxy on this machine.
FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


def scraping_client(settings: Settings) -> redis.Redis:
    """A client that answers or fails within ten seconds: a scrape is not repeated, the next is."""
    return worker_client(redis_url(settings), retries=0)


class MetricsPage:
    """The text of a scrape, to be asked from any thread."""

    def __init__(
        self,
        settings: Settings,
        client: redis.Redis,
        token: Secret,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(StatusCollector(settings, client))
        self._token = token
        self._clock = clock
        self._lock = threading.Lock()
        self._text = b""
        self._until = float("-inf")

    def text(self) -> bytes:
        """The metrics, at most a second old. Blocks as long as Redis takes to answer."""
        with self._lock:
            if self._clock() >= self._until:
                self._text = generate_latest(self._registry)
                self._until = self._clock() + FRESH_S
            return self._text

    def refusal(self, address: str, header: Callable[[str], str]) -> int:
        """The status to refuse a reader with, 0 when it may read.

        ``address`` is where it called from, and ``header`` looks one up by its lower-case name.
        """
        if token := self._token.reveal():
            scheme, _, shown = header("authorization").partition(" ")
            same = hmac.compare_digest(shown.strip().encode(), token.encode())
            return 0 if scheme.lower() == "bearer" and same else 401
        if any(header(name) for name in FORWARDED) or not _is_here(address):
            return 403
        return 0


def _is_here(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
