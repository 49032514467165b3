"""What `ingest up` shows: the counts, live on a terminal, else a line whenever they change."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Self

from rich.live import Live
from rich.text import Text

from worker.buffer.status import DestinationStatus

from ..console.terminal import terminal
from .status_table import counts_line, status_table

# Without a terminal this is a log: a line a second would bury the rest.
_LINE_EVERY_S = 2.0


class LiveStatus:
    """Lines that stay, and counts that change below them; a context manager."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = terminal()
        self._clock = clock
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._last_line = ""
        self._last_at = float("-inf")

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):
            self._live.stop()

    def say(self, line: str, style: str = "") -> None:
        """Show a line that stays."""
        # If the terminal was closed, the system has to be stopped all the same.
        with contextlib.suppress(OSError):
            self._console.print(Text(line, style=style), soft_wrap=True)

    def counts(self, statuses: Mapping[str, DestinationStatus]) -> None:
        """Show the counts as they are now."""
        if not statuses:
            return
        if self._console.is_terminal:
            now_ms = int(time.time() * 1000)
            table = status_table(statuses, now_ms=now_ms, width=self._console.width)
            with contextlib.suppress(OSError):
                self._live.update(table, refresh=True)
            return
        line = counts_line(statuses)
        if line != self._last_line and self._clock() - self._last_at >= _LINE_EVERY_S:
            self.say(line)
            self._last_line, self._last_at = line, self._clock()
