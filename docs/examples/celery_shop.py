"""Another Celery application with a task that sends."""

from functools import cache
from typing import Any

from celery import Celery, Task

from worker import BufferFull, BufferUnavailable, Producer

app = Celery("shop")
CUSTOMERS = {7: {"identity": "jack", "Name": "Jack Montana"}}  # stands for a database


@cache
def producer() -> Producer:
    """Return the process' producer, created on first use, so after the worker has forked."""
    return Producer.from_env()


@app.task(bind=True, ignore_result=True, max_retries=8)
def send_profile(self: Task, customer: int) -> None:
    """Send a customer's profile. The argument is an id: arguments are visible in the broker."""
    properties: dict[str, Any] = dict(CUSTOMERS[customer])
    identity = properties.pop("identity")
    try:
        producer().profile(properties, identity=identity)
    except BufferFull as error:
        raise self.retry(exc=error, countdown=60) from error
    except BufferUnavailable as error:
        # Sending a profile twice is harmless. Repeat an event that must not be counted twice only
        # if `error.sent` is False.
        raise self.retry(exc=error, countdown=5) from error
