"""The project's one place that sends."""

import logging
from collections.abc import Mapping
from functools import cache, partial
from typing import Any

from django.db import transaction

from worker import IngestError, InvalidRecord, Producer

log = logging.getLogger(__name__)


@cache
def producer() -> Producer:
    """One for each process, made when it is first needed, so after the server has forked."""
    return Producer.from_env()


def track(identity: str, name: str, properties: Mapping[str, Any]) -> None:
    """Send an event once the transaction is committed: what is rolled back never happened."""
    transaction.on_commit(partial(_send, identity, name, dict(properties)))


def _send(identity: str, name: str, properties: Mapping[str, Any]) -> None:
    """A customer's order is worth more than its event: no error of ours reaches the view."""
    try:
        producer().event(name, properties, identity=identity)
    except InvalidRecord as error:
        log.error("event refused: %s", error)  # noqa: TRY400 - names fields and rules, no values
    except IngestError as error:
        log.warning("event not sent: %s", error)
