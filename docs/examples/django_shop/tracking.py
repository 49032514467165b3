"""The only place in the project that sends."""

import logging
from collections.abc import Mapping
from functools import cache, partial
from typing import Any

from django.db import transaction

from worker import IngestError, InvalidRecord, Producer

log = logging.getLogger(__name__)


@cache
def producer() -> Producer:
    """Return the process' producer, created on first use, so after the server has forked."""
    return Producer.from_env()


def track(identity: str, name: str, properties: Mapping[str, Any]) -> None:
    """Send an event once the transaction is committed, and not if it is rolled back."""
    transaction.on_commit(partial(_send, identity, name, dict(properties)))


def _send(identity: str, name: str, properties: Mapping[str, Any]) -> None:
    """Send an event; log errors, because a customer's order matters more than its event."""
    try:
        producer().event(name, properties, identity=identity)
    except InvalidRecord as error:
        log.error("event refused: %s", error)  # noqa: TRY400 - names fields and rules, no values
    except IngestError as error:
        log.warning("event not sent: %s", error)
