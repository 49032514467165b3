"""An environment without our own variables, and the fixtures, for every test."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import hypothesis
import pytest

from support.environment import clear_own_variables

pytest_plugins = [
    "support.redis_servers",
    "support.processes",
    "support.redis_groups",
    "support.services",
    "support.randomness",
    "support.gateway",
    "support.npm",
    "support.producers",
    "support.vendor",
    "support.pipeline",
    "support.busy_destination",
    "support.http_sink",
    "support.observing",
    "support.browser",
    "support.pages",
    "support.system",
]
TIERS = {
    "unit": "unit",
    "integration": "integration",
    "acceptance": "acceptance",
}


def pytest_configure(config: pytest.Config) -> None:
    """A developer's own settings must not affect the tests."""
    clear_own_variables(os.environ)
    # A process in the background of a shell ignores Ctrl-C, and so would every process that a test
    # starts and interrupts: exec resets only signals with a handler, or the default.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Plugins, which pytest imports first.
    from support.producers import be_patient
    from support.randomness import fixed_seed

    be_patient()
    # No deadline and no warning about slow examples: two test processes share two cores. The blob
    # makes a failure repeatable. In CI, every run draws the same examples.
    hypothesis.settings.register_profile(
        "project",
        deadline=None,
        print_blob=True,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
        derandomize=fixed_seed() is not None,
    )
    hypothesis.settings.load_profile("project")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its tier, which is its folder."""
    for item in items:
        folders = Path(item.path).relative_to(Path(__file__).parent).parts
        if folders[0] in TIERS:
            item.add_marker(TIERS[folders[0]])
