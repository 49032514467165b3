"""Celery's consumer, which also survives a broker that is out of memory."""

from __future__ import annotations

from typing import Any

from celery.worker.consumer import Consumer as CeleryConsumer
from celery.worker.state import maybe_shutdown
from redis.exceptions import OutOfMemoryError

from ..settings.settings import Settings
from . import AMQP
from .brokerless_drain import BrokerlessDrain, redis_is_full
from .tasks import runtime, watchdog


class Consumer(CeleryConsumer):
    """Makes room in a full Redis before it connects, at the start as after every loss.

    Measured on Celery 5.7: connecting writes, and an error of a full Redis ended the worker.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.connection_errors = (*self.conninfo.connection_errors, OutOfMemoryError)

    def connect(self) -> Any:
        """A connection to the broker; until there is one, the watchdog stands in."""
        watchdog.start()
        shared = not str(self.app.conf.broker_url).startswith(AMQP)
        if shared and redis_is_full(Settings.from_env()):
            BrokerlessDrain(runtime(), watchdog.progress).run()
            maybe_shutdown()
        return super().connect()
