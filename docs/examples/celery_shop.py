"""Another Celery application, whose tasks send what they find out."""

from functools import cache
from typing import Any

from celery import Celery, Task

from worker import BufferFull, BufferUnavailable, Producer

app = Celery("shop")
CUSTOMERS = {7: {"identity": "jack", "Name": "Jack Montana"}}  # stands for a database


@cache
def producer() -> Producer:
    """One for each process, made when it is first needed, so after the worker has forked."""
    return Producer.from_env()


@app.task(bind=True, ignore_result=True, max_retries=8)
def send_profile(self: Task, customer: int) -> None:
    """Send a customer's profile. The argument is a number: arguments lie open in a broker."""
    properties: dict[str, Any] = dict(CUSTOMERS[customer])
    identity = properties.pop("identity")
    try:
        producer().profile(properties, identity=identity)
    except BufferFull as error:
        raise self.retry(exc=error, countdown=60) from error
    except BufferUnavailable as error:
        # A profile sent twice is the same profile. An event that must not be counted twice is
        # repeated only when `error.sent` is False.
        raise self.retry(exc=error, countdown=5) from error
