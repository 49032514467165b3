"""The Celery application with shorter waits for silent or missing servers.

`celery -A support.hurried_app`: tests of what happens after such a wait need not wait as long as
production does.
"""

from __future__ import annotations

from functools import partial

from worker.app import app, broker, process, runtime
from worker.app.process import ShutdownDeadline
from worker.app.watchdog import Watchdog, drain_overdue
from worker.connections.clients import worker_client

__all__ = ["app"]

broker.REDIS_OPTIONS.update(socket_timeout=4, health_check_interval=4)
runtime.worker_client = partial(worker_client, timeout_s=4.0)  # type: ignore[attr-defined] # imported there
# Before the tasks are imported, which use these.
process.watchdog = Watchdog(
    app, fallback_drain=lambda: drain_overdue(process.runtime(), 3.0), fallback_every_s=1.0
)
process.deadline = ShutdownDeadline(process.runtime.abandon, within_s=10.0)
