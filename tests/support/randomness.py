"""Repeatable random numbers for tests: TEST_SEED=... gives the same test the same numbers.

Each run on a developer's machine draws other numbers and may find something new. In CI (CI=true)
all runs draw the same, so that a failure is caused by the change under test.
"""

from __future__ import annotations

import os
import random

import pytest

CI_SEED = 2026


def fixed_seed() -> int | None:
    """The seed that this run was given, if it was."""
    if given := os.environ.get("TEST_SEED"):
        return int(given)
    return CI_SEED if os.environ.get("CI") == "true" else None


@pytest.fixture
def rng() -> random.Random:
    """A source of random numbers; a failing test shows its seed."""
    seed = fixed_seed()
    if seed is None:
        seed = random.SystemRandom().randrange(2**32)
    print(f"TEST_SEED={seed}")  # noqa: T201 - pytest shows it when the test fails
    return random.Random(seed)


@pytest.fixture(scope="session")
def chaos_rounds() -> int:
    """How often to kill or cut: a few times, or as often as CHAOS_ROUNDS says."""
    return int(os.environ.get("CHAOS_ROUNDS") or 3)
