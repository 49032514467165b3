"""Metrics of all processes together, out of the counters in Redis, read when they are asked for.

No process counts for itself, so there is nothing to add up, nothing is lost when a worker dies, and
it does not matter which process is asked. What it costs is one script for each destination.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import redis
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from ...buffer import histograms
from ...buffer.status import STATUSES, DestinationStatus, KindCounts
from ...settings.destination import Destination
from ...settings.settings import Settings
from ..discovery import SCAN_BUDGET, DestinationDiscovery
from ..overview import Overview
from . import definitions
from .definitions import METRICS, PLACES, Metric, Type
from .monotonic import Ratchet

_PHASES = ("begun", "waiting")
_TOTALS: Mapping[str, Metric] = {
    "accepted": definitions.ACCEPTED,
    "delivered": definitions.DELIVERED,
    "dead_lettered": definitions.DEAD_LETTERED,
    "replayed": definitions.REPLAYED,
    "purged": definitions.PURGED,
    "ambiguous": definitions.AMBIGUOUS,
    "attempts": definitions.REQUESTS,
}


class ScrapeResult:
    """The numbers of one scrape. Only declared metrics have a line on it, with all their labels."""

    def __init__(self, ratchet: Ratchet) -> None:
        self._families = {metric: _family(metric) for metric in METRICS}
        self._ratchet = ratchet

    def put(self, metric: Metric, value: float, *labels: str) -> None:
        """Note a number under its labels, in the order declared; KeyError for what is not."""
        family = self._families[metric]
        if len(labels) != len(metric.labels) or metric.type is Type.HISTOGRAM:
            raise ValueError(f"{metric.name}: is a {metric.type} with labels {metric.labels}")
        if metric.type is Type.COUNTER:
            (value,) = self._ratchet.upward((metric.name, *labels), (value,))
        family.add_metric(labels, value)  # type: ignore[attr-defined] # of its subclasses

    def put_histogram(
        self, metric: Metric, buckets: Iterable[tuple[str, int]], total: float, *labels: str
    ) -> None:
        """Note a distribution: cumulative counts by upper bound, and the sum."""
        family = self._families[metric]
        if len(labels) != len(metric.labels) or not isinstance(family, HistogramMetricFamily):
            raise ValueError(f"{metric.name}: is a {metric.type} with labels {metric.labels}")
        bounds, counts = zip(*buckets, strict=True)
        told = self._ratchet.upward((metric.name, *labels), (total, *counts))
        family.add_metric(labels, list(zip(bounds, told[1:], strict=True)), told[0])

    def families(self) -> Iterable[Family]:
        """What a registry takes; what has no number is left out."""
        return [each for each in self._families.values() if each.samples]


def _family(metric: Metric) -> Family:
    made: type[Family] = {
        Type.GAUGE: GaugeMetricFamily,
        Type.COUNTER: CounterMetricFamily,
        Type.HISTOGRAM: HistogramMetricFamily,
    }[metric.type]
    return made(metric.name, metric.help, labels=metric.labels)  # type: ignore[call-arg] # see put


class StatusCollector(Collector):
    """Reads Redis for each scrape; when Redis is away, that is what it tells."""

    def __init__(self, settings: Settings, client: redis.Redis) -> None:
        self._settings = settings
        self._client = client
        self._discovery = DestinationDiscovery(client, SCAN_BUDGET)
        self._ratchet = Ratchet()

    def describe(self) -> Iterable[Family]:
        """Nothing in advance: to be registered is no reason to ask Redis."""
        return ()

    def collect(self) -> Iterable[Family]:
        """All metrics at this moment."""
        sheet = ScrapeResult(self._ratchet)
        sheet.put(definitions.TICK_INTERVAL, self._settings.drain_interval_s)
        try:
            overview = Overview.of(self._settings, self._client, discovery=self._discovery)
            statuses = overview.statuses()
            memory = {name: each.memory_used() for name, each in overview.buffers.items()}
        except RedisError:
            sheet.put(definitions.REDIS_UP, 0)
            return sheet.families()
        sheet.put(definitions.REDIS_UP, 1)
        for name, status in statuses.items():
            self._put_destination(sheet, overview.buffers[name].destination, status)
            sheet.put(definitions.MEMORY_USED, memory[name], name)
        return sheet.families()

    def _put_destination(
        self, sheet: ScrapeResult, destination: Destination, status: DestinationStatus
    ) -> None:
        name = destination.name
        for answer, count in status.answers.items():
            sheet.put(definitions.ANSWERS, count, name, answer)
        for phase in _PHASES:
            sheet.put(definitions.LEASES_EXPIRED, status.expired.get(phase, 0), name, phase)
        sheet.put(definitions.LEASES, status.in_use, name)
        sheet.put(definitions.MEMORY_FULL, status.memory_full, name)
        if configured := self._settings.destinations.get(name):
            sheet.put(definitions.BUFFER_LIMIT, destination.max_buffered, name)
            sheet.put(definitions.CONCURRENCY, status.concurrency, name)
            sheet.put(definitions.CONCURRENCY_LIMIT, destination.concurrency_limit, name)
        # Nobody compares or ticks a destination that was turned off, or resumes it: only records
        # that wait in it make that a fault.
        if destination.enabled:
            sheet.put(definitions.RECONCILED, (status.reconciled_ms or 0) / 1000, name)
            sheet.put(definitions.MISSING, status.missing, name)
        if destination.enabled or any(places.open for places in status.kinds.values()):
            for state in STATUSES:
                sheet.put(definitions.STATE, state == status.state, name, state)
            sheet.put(definitions.LAST_TICK, (status.last_tick_ms or 0) / 1000, name)
            sheet.put(definitions.TICKS, status.ticks, name)
        for kind, places in status.kinds.items():
            _put_kind(sheet, places, name, kind)
            for code, count in status.codes[kind].items():
                sheet.put(definitions.DEAD_LETTERS, count, name, kind, code)
            if configured and (limits := configured.kinds.get(kind)):
                sheet.put(definitions.BATCH_LIMIT, limits.batch_records, name, kind)


def _put_kind(sheet: ScrapeResult, places: KindCounts, *labels: str) -> None:
    for place in PLACES:
        sheet.put(definitions.RECORDS, getattr(places, place), *labels, place)
    sheet.put(definitions.OLDEST, places.oldest_wait_s, *labels)
    for total, metric in _TOTALS.items():
        sheet.put(metric, places.totals[total], *labels)
    requests = places.requests
    took = histograms.cumulative(requests.took, histograms.REQUEST_S)
    sheet.put_histogram(definitions.DURATION, took, requests.took_ms / 1000, *labels)
    sizes = histograms.cumulative(requests.sizes, histograms.BATCH_RECORDS)
    sheet.put_histogram(definitions.BATCH, sizes, requests.records, *labels)
