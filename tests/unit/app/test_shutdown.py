"""A worker that was told to stop and does not end by itself."""

from __future__ import annotations

import threading

from support.polling import poll_until
from worker.app.shutdown import ShutdownDeadline


def test_it_ends_what_waits_once_it_was_told() -> None:
    """Nothing happens before `begin`; after it, what is open is closed first, and the code is 0."""
    seen: list[object] = []
    ending = ShutdownDeadline(lambda: seen.append("closed"), within_s=0.2, end=seen.append)
    ending.start()
    threading.Event().wait(0.4)
    assert seen == []
    ending.begin()
    poll_until(lambda: len(seen) == 2, what="it is over")
    assert seen == ["closed", 0]


def test_a_close_that_hangs_keeps_nobody() -> None:
    """What cannot be closed in time is left open."""
    seen: list[object] = []
    ending = ShutdownDeadline(
        threading.Event().wait, within_s=0, close_within_s=0.1, end=seen.append
    )
    ending.start()
    ending.begin()
    poll_until(lambda: seen == [0], what="it is over")


def test_a_close_that_fails_keeps_nobody() -> None:
    """What fails to close is no reason to live on."""
    seen: list[object] = []

    def fail() -> None:
        raise OSError("no")

    ending = ShutdownDeadline(fail, within_s=0, end=seen.append)
    ending.start()
    ending.begin()
    poll_until(lambda: seen == [0], what="it is over")
