"""Metrics of all processes, read at each scrape from the counters in Redis.

No process counts for itself, so there is nothing to add up, nothing is lost when a worker dies, and
any process can be scraped. A scrape costs one script per destination.
"""

from __future__ import annotations

import hmac
import ipaddress
import threading
import time
from collections.abc import Callable, Iterable, Mapping

import redis
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from ...buffer.status import (
    BATCH_RECORDS,
    REQUEST_S,
    STATUSES,
    DestinationStatus,
    KindCounts,
    cumulative,
)
from ...connections.clients import redis_url, worker_client
from ...settings.destination import Destination
from ...settings.settings import Settings
from ...vendors.secret import Secret
from ..overview import SCAN_BUDGET, DestinationDiscovery, Overview
from . import definitions
from .definitions import METRICS, PLACES, Metric, Type

_TOTALS: Mapping[str, Metric] = {
    "accepted": definitions.ACCEPTED,
    "delivered": definitions.DELIVERED,
    "dead_lettered": definitions.DEAD_LETTERED,
    "replayed": definitions.REPLAYED,
    "purged": definitions.PURGED,
    "ambiguous": definitions.AMBIGUOUS,
    "attempts": definitions.REQUESTS,
}
_FAMILIES: Mapping[Type, type[Family]] = {
    "gauge": GaugeMetricFamily,
    "counter": CounterMetricFamily,
    "histogram": HistogramMetricFamily,
}
# A total below this share of the last one was reset: another Redis, or one that was emptied.
RESET_SHARE = 0.5


class Monotonic:
    """Keeps totals from falling slightly when Redis loses its last moment.

    A fail-over, or a crash of Redis' machine, may lose the last second (docs/scaling.md).
    Prometheus takes any fall for a restart from zero, and `increase` would count all that was ever
    delivered as of this minute. So such a total stays until it has caught up.
    """

    def __init__(self) -> None:
        self._last: dict[tuple[str, ...], tuple[float, ...]] = {}

    def upward(self, key: tuple[str, ...], totals: tuple[float, ...]) -> tuple[float, ...]:
        """Return the totals to report; the largest of them comes last (a histogram's +Inf)."""
        last = self._last.get(key, totals)
        if last[-1] * RESET_SHARE <= totals[-1] < last[-1]:
            return last
        self._last[key] = totals
        return totals


class ScrapeResult:
    """The samples of one scrape, of declared metrics with all their labels only."""

    def __init__(self, monotonic: Monotonic) -> None:
        self._families = {
            each: _FAMILIES[each.type](each.name, each.help, labels=each.labels)  # type: ignore[call-arg] # of its subclasses
            for each in METRICS
        }
        self._monotonic = monotonic

    def put(self, metric: Metric, value: float, *labels: str) -> None:
        """Add a sample, its labels as declared; KeyError for an undeclared metric."""
        family = self._families[metric]
        if len(labels) != len(metric.labels) or metric.type == "histogram":
            raise ValueError(f"{metric.name}: is a {metric.type} with labels {metric.labels}")
        if metric.type == "counter":
            (value,) = self._monotonic.upward((metric.name, *labels), (value,))
        family.add_metric(labels, value)  # type: ignore[attr-defined] # of its subclasses

    def put_histogram(
        self, metric: Metric, buckets: Iterable[tuple[str, int]], total: float, *labels: str
    ) -> None:
        """Add a distribution: cumulative counts by upper bound, and the sum."""
        family = self._families[metric]
        if len(labels) != len(metric.labels) or not isinstance(family, HistogramMetricFamily):
            raise ValueError(f"{metric.name}: is a {metric.type} with labels {metric.labels}")
        bounds, counts = zip(*buckets, strict=True)
        total, *shown = self._monotonic.upward((metric.name, *labels), (total, *counts))
        family.add_metric(labels, list(zip(bounds, shown, strict=True)), total)

    def families(self) -> Iterable[Family]:
        return [each for each in self._families.values() if each.samples]


class StatusCollector(Collector):
    """Reads Redis at each scrape; without Redis it reports just that."""

    def __init__(self, settings: Settings, client: redis.Redis) -> None:
        self._settings = settings
        self._client = client
        self._discovery = DestinationDiscovery(client, SCAN_BUDGET)
        self._monotonic = Monotonic()

    def describe(self) -> Iterable[Family]:
        """Return nothing: registering it must not read Redis."""
        return ()

    def collect(self) -> Iterable[Family]:
        result = ScrapeResult(self._monotonic)
        result.put(definitions.TICK_INTERVAL, self._settings.drain_interval_s)
        try:
            overview = Overview.of(self._settings, self._client, discovery=self._discovery)
            statuses = overview.statuses()
            memory = {name: each.memory_used() for name, each in overview.buffers.items()}
        except RedisError:
            result.put(definitions.REDIS_UP, 0)
            return result.families()
        result.put(definitions.REDIS_UP, 1)
        for name, status in statuses.items():
            self._put_destination(result, overview.buffers[name].destination, status)
            result.put(definitions.MEMORY_USED, memory[name], name)
        return result.families()

    def _put_destination(
        self, result: ScrapeResult, destination: Destination, status: DestinationStatus
    ) -> None:
        name = destination.name
        for answer, count in status.answers.items():
            result.put(definitions.ANSWERS, count, name, answer)
        for phase in ("begun", "waiting"):
            result.put(definitions.LEASES_EXPIRED, status.expired.get(phase, 0), name, phase)
        result.put(definitions.LEASES, status.in_use, name)
        result.put(definitions.MEMORY_FULL, status.memory_full, name)
        if configured := self._settings.destinations.get(name):
            result.put(definitions.BUFFER_LIMIT, destination.max_buffered, name)
            result.put(definitions.CONCURRENCY, status.concurrency, name)
            result.put(definitions.CONCURRENCY_LIMIT, destination.concurrency_limit, name)
        # A disabled destination is not compared, ticked or resumed: a fault only when it has
        # waiting records.
        if destination.enabled:
            result.put(definitions.RECONCILED, (status.reconciled_ms or 0) / 1000, name)
            result.put(definitions.MISSING, status.missing, name)
        if destination.enabled or any(places.open for places in status.kinds.values()):
            for state in STATUSES:
                result.put(definitions.STATE, state == status.state, name, state)
            result.put(definitions.LAST_TICK, (status.last_tick_ms or 0) / 1000, name)
            result.put(definitions.TICKS, status.ticks, name)
        for kind, places in status.kinds.items():
            _put_kind(result, places, name, kind)
            for code, count in status.codes[kind].items():
                result.put(definitions.DEAD_LETTERS, count, name, kind, code)
            if configured and (limits := configured.kinds.get(kind)):
                result.put(definitions.BATCH_LIMIT, limits.batch_records, name, kind)


def _put_kind(result: ScrapeResult, places: KindCounts, *labels: str) -> None:
    for place in PLACES:
        result.put(definitions.RECORDS, getattr(places, place), *labels, place)
    result.put(definitions.OLDEST, places.oldest_wait_s, *labels)
    for total, metric in _TOTALS.items():
        result.put(metric, places.totals[total], *labels)
    requests = places.requests
    took = cumulative(requests.took, REQUEST_S)
    result.put_histogram(definitions.DURATION, took, requests.took_ms / 1000, *labels)
    sizes = cumulative(requests.sizes, BATCH_RECORDS)
    result.put_histogram(definitions.BATCH, sizes, requests.records, *labels)


CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
# However many clients ask, Redis is read once in this time.
FRESH_S = 1.0
# A request with one of these came through a proxy on this machine.
FORWARDED_HEADERS = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip")


class MetricsPage:
    """The text of a scrape; thread-safe. It has no record, but shows how much a business sells:
    without INGEST_METRICS_TOKEN only programs on this machine may read it."""

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
