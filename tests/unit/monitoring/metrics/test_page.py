"""Who may read the page of metrics."""

from __future__ import annotations

import pytest

from worker.monitoring.metrics.page import MetricsPage
from worker.settings.settings import Settings
from worker.vendors.secret import Secret


def refusal(token: str, address: str, **headers: str) -> int:
    """Return the status that a client with these headers is refused with, or 0."""
    settings = Settings.from_env({"REDIS_URL": "redis://127.0.0.1:1/0"})
    page = MetricsPage(settings, Secret(token))
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return page.refusal(address, lambda name: named.get(name, ""))


@pytest.mark.parametrize(
    ("address", "headers", "status"),
    [
        ("127.0.0.1", {}, 0),
        ("::1", {}, 0),
        ("192.0.2.1", {}, 403),
        ("no address", {}, 403),
        ("127.0.0.1", {"x_forwarded_for": "127.0.0.1"}, 403),
        ("127.0.0.1", {"forwarded": "for=192.0.2.1"}, 403),
    ],
)
def test_refusal_without_a_token_admits_this_machine_only(
    address: str, headers: dict[str, str], status: int
) -> None:
    """A client that came through a proxy is not on this machine."""
    assert refusal("", address, **headers) == status


@pytest.mark.parametrize(
    ("shown", "status"),
    [
        ("Bearer secret", 0),
        ("bearer  secret ", 0),
        ("Bearer other", 401),
        ("secret", 401),
        ("", 401),
    ],
)
def test_refusal_with_a_token_admits_those_who_show_it(shown: str, status: int) -> None:
    """From anywhere, also through a proxy."""
    assert refusal("secret", "192.0.2.1", authorization=shown, via="1.1 proxy") == status
