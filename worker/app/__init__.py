"""The Celery application: `celery -A worker.app worker`, `beat`, `flower`.

Celery moves work, Redis holds the truth. A message names a batch to deliver; losing it costs the
time of a lease. So messages are acknowledged early, results are not kept, and neither retries nor
ETA nor visibility timeouts are used.
"""

from __future__ import annotations

import os
from typing import Any

import click
from celery import Celery, signals
from celery.schedules import crontab

from ..errors import SettingsError
from ..settings.settings import ProcessSettings, Settings
from ..settings.third_party import check_flower_port
from ..telemetry.error_reports import report_errors
from ..telemetry.logs import configure
from .broker import broker_settings

app = Celery("worker", include=["worker.app.tasks"], set_as_current=True)


def _configuration() -> dict[str, Any]:
    settings, process = Settings.from_env(), ProcessSettings.from_env()
    # One per request that may be in flight, so that a slow destination keeps none waiting for a
    # thread, and two for ticks and probes.
    threads = sum(each.concurrency_limit for each in settings.enabled()) + 2
    return {
        **broker_settings(settings),
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "worker_pool": "threads",
        "worker_consumer": "worker.app.brokerless_drain:Consumer",
        "worker_concurrency": process.threads or threads,
        "worker_prefetch_multiplier": 1,
        "worker_enable_prefetch_count_reduction": False,  # restoring it is not thread-safe
        "worker_send_task_events": True,
        "worker_hijack_root_logger": False,
        "task_default_queue": "ingest",
        "task_ignore_result": True,
        "task_acks_late": False,
        "task_serializer": "json",
        "accept_content": ["json"],
        "enable_utc": True,
        "beat_scheduler": "worker.app.scheduler:Scheduler",
        "beat_schedule_filename": process.beat_schedule,
        "beat_max_loop_interval": min(5.0, settings.drain_interval_s),
        "beat_schedule": {
            "drain": {
                "task": "ingest.drain",
                "schedule": settings.drain_interval_s,
                "options": {"expires": max(10.0, 10 * settings.drain_interval_s)},
            },
            # At night in most accounts' time zones, when the vendor has counted the day before. A
            # second beat makes it run twice, which only asks the vendor twice.
            "reconcile": {
                "task": "ingest.reconcile",
                "schedule": crontab(hour="3", minute="30"),
                "options": {"expires": 3600.0},
            },
        },
    }


def _check_flower(ctx: click.Context, param: click.Parameter, value: object) -> None:
    del param, value
    if ctx.info_name == "flower":
        try:
            check_flower_port(os.environ)
        except SettingsError as error:
            raise SystemExit(str(error)) from error


app.add_defaults(_configuration)
# Flower reads its environment before its configuration file; the callback of an option that all
# Celery commands have is the only hook before that.
app.user_options["preload"].add(
    click.Option(
        ["--check-flower"], hidden=True, expose_value=False, is_flag=True, callback=_check_flower
    )
)


@signals.setup_logging.connect
def _set_up_logging(loglevel: int | str | None = None, **_: Any) -> None:
    configure(loglevel or "INFO", as_json=ProcessSettings.from_env().log_format == "json")
    report_errors()
