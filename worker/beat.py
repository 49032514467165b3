"""The beat's scheduler: Celery's own, but it does not fill the queue of a worker that is away."""

from __future__ import annotations

from typing import Any

from celery.beat import PersistentScheduler, ScheduleEntry
from kombu.connection import Connection

# A tick that waits behind so many others adds nothing: each does all there is to do.
MOST_WAITING = 10


class Scheduler(PersistentScheduler):
    """Skips a tick while enough of them wait. Without it a worker that is away for a night would
    find 86,400 of them."""

    def apply_async(
        self, entry: ScheduleEntry, producer: Any = None, advance: bool = True, **kwargs: Any
    ) -> Any:
        """Send an entry's task, unless nobody has taken the last ones."""
        if self._waiting() >= MOST_WAITING:
            if advance:
                self.reserve(entry)
            return None
        return super().apply_async(entry, producer=producer, advance=advance, **kwargs)

    def _waiting(self) -> int:
        with self.app.pool.acquire(block=True) as connection:
            return waiting(connection, self.app.conf.task_default_queue)


def waiting(connection: Connection, queue: str) -> int:
    """The number of messages in a queue; a queue that does not exist yet has none."""
    channel = connection.channel()
    try:
        return int(channel.queue_declare(queue, passive=True).message_count)
    except connection.channel_errors:
        return 0
    finally:
        channel.close()
