"""The usual first attempt: one Celery task per event, which posts it.

Its settings are the ones that favour it: no results, no task events, early acknowledgement.
"""

from __future__ import annotations

import http.client
import os
from functools import cache
from typing import Any

import orjson
from celery import Celery

app = Celery("each", broker=os.environ.get("REDIS_URL"))
app.conf.update(
    task_ignore_result=True, worker_send_task_events=False, task_default_queue="bench-each"
)


@cache
def _connection() -> http.client.HTTPConnection:
    """Return the process' persistent connection, made after the fork."""
    address = os.environ["CLEVERTAP_BASE_URL"].removeprefix("http://")
    return http.client.HTTPConnection(address)


def post(records: list[dict[str, Any]]) -> None:
    """Upload these records."""
    headers = {"Content-Type": "application/json"}
    _connection().request("POST", "/1/upload", orjson.dumps({"d": records}), headers)
    _connection().getresponse().read()


def _upload(record: dict[str, Any]) -> None:
    post([record])


upload = app.task(name="bench.each", ignore_result=True)(_upload)
