"""How long the producers of this process wait for Redis."""

from __future__ import annotations

import pytest

from worker.connections import clients

_USUAL_S = clients.PRODUCER_TIMEOUT_S


def be_patient() -> None:
    """Wait longer than a web request would: with parallel tests, Redis or this process occasionally
    pauses for a quarter of a second, which is not a failure."""
    clients.PRODUCER_TIMEOUT_S = clients.WORKER_TIMEOUT_S


@pytest.fixture
def prompt_producers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore the usual timeouts, for tests of them."""
    monkeypatch.setattr(clients, "PRODUCER_TIMEOUT_S", _USUAL_S)
