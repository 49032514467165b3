"""Chance in tests, which can be repeated: TEST_SEED=... gives the same test the same numbers."""

from __future__ import annotations

import os
import random

import pytest


@pytest.fixture
def rng() -> random.Random:
    """A source of random numbers; a failing test shows its seed."""
    seed = int(os.environ.get("TEST_SEED") or random.SystemRandom().randrange(2**32))
    print(f"TEST_SEED={seed}")  # noqa: T201 - pytest shows it when the test fails
    return random.Random(seed)


@pytest.fixture(scope="session")
def chaos_rounds() -> int:
    """How often to kill or cut: a few times, or as often as CHAOS_ROUNDS says."""
    return int(os.environ.get("CHAOS_ROUNDS") or 3)
