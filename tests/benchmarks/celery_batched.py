"""celery-batches: one task message per event, a thousand of them passed to one call.

It asks for a Celery below 5.7, so it has an environment of its own (`scripts/setup bench`), where
nothing of ours is installed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from celery import Celery
from celery_batches import Batches

from benchmarks.celery_each import post

app = Celery("batched", broker=os.environ.get("REDIS_URL"))
app.conf.update(
    task_ignore_result=True,
    worker_send_task_events=False,
    # Unlimited prefetch; otherwise a batch never fills up.
    worker_prefetch_multiplier=0,
    task_default_queue="bench-batched",
)


def _upload(requests: Sequence[Any]) -> None:
    post([request.args[0] for request in requests])


upload = app.task(
    name="bench.batched", base=Batches, flush_every=1000, flush_interval=5, ignore_result=True
)(_upload)
