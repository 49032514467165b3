"""What `ingest up` shows: the counts, live on a terminal, else a line whenever they change."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from rich.live import Live
from rich.text import Text

from worker.buffer.status import DestinationStatus

from ..console.terminal import standard_output
from .status_table import shown

# Without a terminal, somebody reads a log: a line a second would drown the rest.
_LINE_EVERY_S = 2.0


class Screen:
    """Lines that stay, and counts that change below them; a context manager."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = standard_output()
        self._clock = clock
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._last_line = ""
        self._last_at = float("-inf")

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self._live.stop()

    def say(self, line: str, style: str = "") -> None:
        """A line that stays."""
        # A terminal that was closed takes no words; the system has to be stopped all the same.
        with contextlib.suppress(OSError):
            self._console.print(Text(line, style=style), soft_wrap=True)

    def counts(self, statuses: Mapping[str, DestinationStatus]) -> None:
        """Show the counts as they are now."""
        if not statuses:
            return
        if self._console.is_terminal:
            now_ms = int(time.time() * 1000)
            table = shown(statuses, now_ms=now_ms, width=self._console.width)
            with contextlib.suppress(OSError):
                self._live.update(table, refresh=True)
            return
        line = in_a_line(statuses)
        if line != self._last_line and self._clock() - self._last_at >= _LINE_EVERY_S:
            self.say(line)
            self._last_line, self._last_at = line, self._clock()


def in_a_line(statuses: Mapping[str, DestinationStatus]) -> str:
    """The counts of all destinations together."""
    every = [places for status in statuses.values() for places in status.kinds.values()]
    numbers = {
        "accepted": sum(places.totals["accepted"] for places in every),
        "buffered": sum(places.buffered for places in every),
        "in flight": sum(places.in_flight for places in every),
        "retrying": sum(places.retrying for places in every),
        "delivered": sum(places.totals["delivered"] for places in every),
        "dead": sum(places.dead for places in every),
    }
    return "  ".join(f"{name} {number:,}" for name, number in numbers.items())
