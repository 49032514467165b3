"""The Celery application: `celery -A worker.app worker`, `beat`, `flower`.

Celery moves work, Redis holds the truth. A message says which batch to deliver; losing it costs the
time of a lease. So messages are acknowledged early, results are not kept, and neither retries nor
ETA nor visibility timeouts are used.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, signals
from celery.schedules import crontab

from .address import redis_url
from .settings import Settings
from .telemetry import configure

QUEUE = "ingest"
app = Celery("worker", include=["worker.tasks"], set_as_current=True)


def _broker_url(settings: Settings) -> str:
    return settings.broker_url.reveal() or redis_url(settings)


def _threads(settings: Settings) -> int:
    """A thread for every request that may be under way, and two for ticks and probes.

    So a destination that is slow to answer never keeps the others waiting for a thread.
    """
    return sum(each.concurrency_limit for each in settings.enabled()) + 2


def _configuration() -> dict[str, Any]:
    settings = Settings.from_env()
    return {
        "broker_url": _broker_url(settings),
        # Measured on Celery 5.7: without socket_timeout a worker whose connection is silently cut
        # never works again; with 15 s it is back after 75 s at the latest.
        "broker_transport_options": {
            "socket_timeout": 15,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 15,
        },
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "worker_pool": "threads",
        "worker_concurrency": int(os.environ.get("INGEST_THREADS") or _threads(settings)),
        "worker_prefetch_multiplier": 1,
        "worker_send_task_events": True,
        "worker_hijack_root_logger": False,
        "task_default_queue": QUEUE,
        "task_ignore_result": True,
        "task_acks_late": False,
        "task_serializer": "json",
        "accept_content": ["json"],
        "enable_utc": True,
        "beat_scheduler": "worker.beat:Scheduler",
        "beat_schedule_filename": os.environ.get("INGEST_BEAT_SCHEDULE") or "celerybeat-schedule",
        "beat_max_loop_interval": min(5.0, settings.drain_interval_s),
        "beat_schedule": {
            "drain": {
                "task": "ingest.drain",
                "schedule": settings.drain_interval_s,
                "options": {"expires": max(10.0, 10 * settings.drain_interval_s)},
            },
            # At night in most of the zones that accounts are in, and when the day before has been
            # counted. A second beat makes it run twice, which only asks the vendor twice.
            "reconcile": {
                "task": "ingest.reconcile",
                "schedule": crontab(hour="3", minute="30"),
                "options": {"expires": 3600.0},
            },
        },
    }


app.add_defaults(_configuration)


@signals.setup_logging.connect
def _set_up_logging(loglevel: int | str | None = None, **_: Any) -> None:
    configure(
        str(loglevel or "INFO") if not isinstance(loglevel, int) else "INFO",
        as_json=os.environ.get("INGEST_LOG_FORMAT") == "json",
    )
