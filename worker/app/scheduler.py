"""Beat's scheduler: Celery's own, with a fresh connection per tick, and a limit on queued ticks."""

from __future__ import annotations

from typing import Any

from celery.beat import PersistentScheduler, ScheduleEntry
from kombu.connection import Connection

from ..telemetry.logs import get_logger

log = get_logger(__name__)

# One more tick behind these adds nothing: each does all there is to do.
MAX_QUEUED_TICKS = 10


class Scheduler(PersistentScheduler):
    """Sends each tick over a connection of its own, and skips it while enough of them wait.

    A connection per tick costs a millisecond. The one that Celery keeps is of no use once Redis was
    killed: every later tick failed (measured on Celery 5.7). Without the limit, workers that are
    away for a day would find 86,400 ticks.
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
        """Send an entry's task unless enough of them wait; never raise."""
        if advance:
            entry = self.reserve(entry)
        try:
            sent = self._send(entry, **kwargs)
        except Exception as error:  # noqa: BLE001 - beat survives whatever happens to its broker
            if not self._failing:
                log.warning("could not send a tick; trying again", error=_cause(error))
            self._failing = True
            return None
        if self._failing:
            log.info("ticks can be sent again")
        self._failing = False
        return sent

    def _send(self, entry: ScheduleEntry, **kwargs: Any) -> Any:
        with self.app.connection_for_write() as connection:
            if queued_messages(connection, self.app.conf.task_default_queue) >= MAX_QUEUED_TICKS:
                return None
            with self.app.amqp.Producer(connection, auto_declare=False) as producer:
                return super().apply_async(entry, producer=producer, advance=False, **kwargs)


def _cause(error: BaseException) -> str:
    """Return the name of an error's root cause; the text of Celery's own repeats addresses.

    kombu connects when its pool of channels turns out to be empty: that IndexError does not count.
    """
    found = error
    while (ground := error.__cause__ or error.__context__) is not None:
        error = ground
        found = found if isinstance(error, LookupError) else error
    return type(found).__name__


def queued_messages(connection: Connection, queue: str) -> int:
    """Return the number of messages in a queue, 0 if it does not exist yet."""
    channel = connection.channel()
    try:
        return int(channel.queue_declare(queue, passive=True).message_count)
    except connection.channel_errors:
        return 0
    finally:
        channel.close()
