"""Delivers without the broker while the Redis that may carry it, too, has no room for a message.

A worker whose broker is a Redis without room cannot even connect to it: Celery writes first. So
what fills the memory is delivered before, by threads that ask nobody.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from copy import copy

from redis.exceptions import RedisError

from ..buffer.buffer import Buffer
from ..connections.clients import operator_client, redis_url
from ..settings.settings import Settings
from ..telemetry.logs import get_logger
from .runtime import DestinationRuntime, Runtime

log = get_logger(__name__)

# Of Redis' memory. Producers are refused above 90 %: so it gets here only when somebody else fills
# it, or its limit was lowered; and what is left is room enough for Celery.
MEMORY_HIGH_WATERMARK = 0.95
LOOK_EVERY_S = 0.5


def redis_is_full(settings: Settings) -> bool:
    """Whether Redis has no room for the broker; no, when it does not answer."""
    try:
        with operator_client(redis_url(settings)) as client:
            return any(
                Buffer(client, each).memory_used() > MEMORY_HIGH_WATERMARK
                for each in settings.enabled()
            )
    except RedisError:
        return False  # whoever needs it waits for it, and is told


class BrokerlessDrain:
    """As many threads for each destination as it may have requests under way, and one that ticks.

    ``progress`` is called again and again, for those who watch that something happens.
    """

    def __init__(self, runtime: Runtime, progress: Callable[[], object] = lambda: None) -> None:
        self._runtime = runtime
        self._progress = progress
        self._over = threading.Event()

    def run(self) -> None:
        """Deliver until Redis has room, or the worker is told to stop; what was begun is settled.

        Where nothing can be delivered (paused, parked, the vendor away) it goes on until it can,
        or somebody makes room.
        """
        log.error("Redis is full: delivering without the broker, until there is room for messages")
        threads = [
            threading.Thread(target=self._repeat, args=(work, line), name=work.__name__)
            for line in self._runtime.lines.values()
            for work in [_tick] + line.destination.concurrency_limit * [self._deliver]
        ]
        for thread in threads:
            thread.start()
        while not self._runtime.stopping and redis_is_full(self._runtime.settings):
            self._pause()
        self._over.set()
        while any(thread.is_alive() for thread in threads):
            self._pause()
        log.info("delivered without the broker; Redis is no longer full, or the worker stops")

    def _pause(self) -> None:
        self._progress()
        time.sleep(LOOK_EVERY_S)

    def _ended(self) -> bool:
        return self._over.is_set() or self._runtime.stopping

    def _repeat(
        self, work: Callable[[DestinationRuntime], object], line: DestinationRuntime
    ) -> None:
        while not self._ended():
            try:
                work(line)
            except Exception:  # the next round tries again
                log.exception("could not deliver", destination=line.destination.name)
            self._over.wait(LOOK_EVERY_S)

    def _deliver(self, line: DestinationRuntime) -> None:
        deliverer = copy(line.deliverer)
        # It would ask other threads by messages, which no process takes yet.
        deliverer.on_more_capacity = lambda: None
        deliverer.run_ready(is_over=self._ended)


def _tick(line: DestinationRuntime) -> None:
    if line.drain.check():
        line.deliverer.probe()
