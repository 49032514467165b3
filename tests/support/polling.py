"""Waiting for something to become true, without sleeping for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
# Only a failure takes this long: whatever else a busy machine does, it is in time.
PATIENCE_S = 60.0


def poll_until(
    condition: Callable[[], T],
    deadline_s: float = PATIENCE_S,
    what: str = "",
    every_s: float = 0.02,
) -> T:
    """The first true value of ``condition``; fails, naming ``what``, after ``deadline_s``."""
    ends = time.monotonic() + deadline_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > ends:
            what = what or getattr(condition, "__name__", "the condition")
            raise AssertionError(f"not within {deadline_s:g} s: {what}; last value: {value!r}")
        time.sleep(every_s)
