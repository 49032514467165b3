"""The beat's scheduler: Celery's own, but it holds no connection that could go stale, and it does
not fill the queue of a worker that is away."""

from __future__ import annotations

from typing import Any

from celery.beat import PersistentScheduler, ScheduleEntry
from kombu.connection import Connection

from ..telemetry.logs import get_logger

log = get_logger(__name__)

# A tick that waits behind so many others adds nothing: each does all there is to do.
MOST_WAITING = 10


class Scheduler(PersistentScheduler):
    """Sends each tick over a connection of its own, and skips it while enough of them wait.

    A connection a tick costs a millisecond. One that was kept, as Celery does, was of no use any
    more after Redis had been killed once: measured on Celery 5.7, each tick failed ever after.
    Without the skipping a worker that is away for a night would find 86,400 ticks.
    """

    producer = None  # Celery's own would be made once, and kept
    _failing = False

    def apply_async(
        self,
        entry: ScheduleEntry,
        producer: Any = None,  # noqa: ARG002 - never one that is kept
        advance: bool = True,
        **kwargs: Any,
    ) -> Any:
        """Send an entry's task, unless nobody has taken the last ones; never raises."""
        if advance:
            entry = self.reserve(entry)
        try:
            sent = self._send(entry, **kwargs)
        except Exception as error:  # noqa: BLE001 - a beat survives whatever befalls its broker
            if not self._failing:
                log.warning("no tick can be sent; trying again", error=_cause(error))
            self._failing = True
            return None
        if self._failing:
            log.info("ticks can be sent again")
        self._failing = False
        return sent

    def _send(self, entry: ScheduleEntry, **kwargs: Any) -> Any:
        with self.app.connection_for_write() as connection:
            if waiting(connection, self.app.conf.task_default_queue) >= MOST_WAITING:
                return None
            with self.app.amqp.Producer(connection, auto_declare=False) as producer:
                return super().apply_async(entry, producer=producer, advance=False, **kwargs)


def _cause(error: BaseException) -> str:
    """What lies at the ground of an error; the text of Celery's own repeats addresses.

    Kombu connects when its pool of channels turns out to be empty: that IndexError is no cause.
    """
    found = error
    while (ground := error.__cause__ or error.__context__) is not None:
        error = ground
        found = found if isinstance(error, LookupError) else error
    return type(found).__name__


def waiting(connection: Connection, queue: str) -> int:
    """The number of messages in a queue; a queue that does not exist yet has none."""
    channel = connection.channel()
    try:
        return int(channel.queue_declare(queue, passive=True).message_count)
    except connection.channel_errors:
        return 0
    finally:
        channel.close()
