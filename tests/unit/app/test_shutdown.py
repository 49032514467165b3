"""The deadline of a worker that was asked to stop and does not end."""

from __future__ import annotations

import threading

from support.polling import poll_until
from worker.app.shutdown import ShutdownDeadline


def test_shutdown_deadline_once_begun_closes_and_ends_the_process() -> None:
    """Nothing happens before `begin`; after it, connections are closed first, and the code is 0."""
    seen: list[object] = []
    deadline = ShutdownDeadline(lambda: seen.append("closed"), within_s=0.1, end=seen.append)
    deadline.start()
    threading.Event().wait(0.2)
    assert seen == []
    deadline.begin()
    poll_until(lambda: len(seen) == 2, what="it is over")
    assert seen == ["closed", 0]


def test_shutdown_deadline_with_a_close_that_hangs_ends_the_process() -> None:
    """What cannot be closed in time is left open."""
    seen: list[object] = []
    deadline = ShutdownDeadline(
        threading.Event().wait, within_s=0, close_within_s=0.1, end=seen.append
    )
    deadline.start()
    deadline.begin()
    poll_until(lambda: seen == [0], what="it is over")


def test_shutdown_deadline_with_a_close_that_fails_ends_the_process() -> None:
    """A failure to close is no reason to stay."""
    seen: list[object] = []

    def fail() -> None:
        raise OSError("no")

    deadline = ShutdownDeadline(fail, within_s=0, end=seen.append)
    deadline.start()
    deadline.begin()
    poll_until(lambda: seen == [0], what="it is over")
