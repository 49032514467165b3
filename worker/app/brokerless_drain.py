"""Delivers without the broker while Redis, which may also be the broker, has no room for a message.

A worker cannot even connect to a full Redis as its broker: Celery writes first. So it first
delivers what fills the memory, on threads that need no message.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from copy import copy
from typing import Any

from celery.worker.consumer import Consumer as CeleryConsumer
from celery.worker.state import maybe_shutdown
from redis.exceptions import OutOfMemoryError, RedisError

from ..buffer.buffer import Buffer
from ..connections.clients import operator_client, redis_url
from ..settings.settings import Settings
from ..telemetry.logs import get_logger
from .broker import AMQP_SCHEMES
from .process import runtime, watchdog
from .runtime import DestinationRuntime, Runtime

log = get_logger(__name__)

# Of Redis' memory. Producers stop at 90 %, so this level means that another client is filling
# Redis or `maxmemory` was lowered; what is left is enough for Celery.
MEMORY_HIGH_WATERMARK = 0.95
CHECK_EVERY_S = 0.5


class Consumer(CeleryConsumer):
    """Makes room in a full Redis before it connects, at the start and after every loss.

    Measured on Celery 5.7: to connect is to write, and the error of a full Redis ended the worker.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.connection_errors = (*self.conninfo.connection_errors, OutOfMemoryError)

    def connect(self) -> Any:
        """Connect to the broker; the watchdog runs from the first attempt on."""
        watchdog.start()
        shared = not str(self.app.conf.broker_url).startswith(AMQP_SCHEMES)
        if shared and redis_is_full(Settings.from_env()):
            BrokerlessDrain(runtime(), watchdog.progress).run()
            maybe_shutdown()
        return super().connect()


def redis_is_full(settings: Settings) -> bool:
    """Return whether Redis has no room for the broker; False when it does not answer."""
    try:
        with operator_client(redis_url(settings)) as client:
            return any(
                Buffer(client, each).memory_used() > MEMORY_HIGH_WATERMARK
                for each in settings.enabled()
            )
    except RedisError:
        return False  # what needs Redis waits for it, and logs that


class BrokerlessDrain:
    """One thread per request that may be in flight, and one per destination that ticks.

    ``progress`` is called repeatedly while it runs.
    """

    def __init__(self, runtime: Runtime, progress: Callable[[], object]) -> None:
        self._runtime = runtime
        self._progress = progress
        self._over = threading.Event()

    def run(self) -> None:
        """Deliver until Redis has room or the worker stops; what was begun is settled.

        While nothing can be delivered (paused, parked, the vendor away) it goes on until something
        can, or another client makes room.
        """
        log.error("Redis is full: delivering without the broker until there is room for messages")
        threads = [
            threading.Thread(target=self._repeat, args=(work, parts), name=work.__name__)
            for parts in self._runtime.destinations.values()
            for work in [_tick] + parts.destination.concurrency_limit * [self._deliver]
        ]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            self._progress()
            time.sleep(CHECK_EVERY_S)
            if not (self._ended() or redis_is_full(self._runtime.settings)):
                self._over.set()
        log.info("delivering by the broker again, or stopping")

    def _ended(self) -> bool:
        return self._over.is_set() or self._runtime.stopping

    def _repeat(
        self, work: Callable[[DestinationRuntime], object], parts: DestinationRuntime
    ) -> None:
        while not self._ended():
            try:
                work(parts)
            except Exception:  # the next round tries again
                log.exception("could not deliver", destination=parts.destination.name)
            self._over.wait(CHECK_EVERY_S)

    def _deliver(self, parts: DestinationRuntime) -> None:
        deliverer = copy(parts.deliverer)
        deliverer.on_more_capacity = lambda: None  # it would send messages; no worker takes them
        deliverer.run_ready(is_over=self._ended)


def _tick(parts: DestinationRuntime) -> None:
    if parts.drain.check():
        parts.deliverer.probe()
