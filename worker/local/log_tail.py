"""What is worth a person's attention in a log file that grows: its warnings and errors."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

# As `telemetry` writes them ("... [warning  ] ..."), and as others do before it is set up.
_WORTH = re.compile(rb"\[(?:warning|error|critical)\s*\]|^(?:WARNING|ERROR|CRITICAL)\b|^\w*Error: ")
_STAMP = re.compile(r"^\S+T\S+ ")
_VARIABLE = re.compile(r"[0-9a-f-]{6,}|\d+")  # ids, counts and durations
_MOST_BYTES = 256 * 1024
# What goes wrong every second is said once in a while.
_REPEAT_AFTER_S = 30.0


class LogTail:
    """Reads on where it stopped; begins at the end of what is there already."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._shown_at: dict[str, float] = {}
        self._position = path.stat().st_size if path.exists() else 0

    def worth_showing(self) -> list[str]:
        """The warnings and errors that were added, without their times and soon repetitions."""
        try:
            with self._path.open("rb") as log:
                if log.seek(0, 2) < self._position:
                    self._position = 0  # a new file began
                log.seek(self._position)
                added = log.read(_MOST_BYTES)
        except FileNotFoundError:
            return []
        whole, newline, begun = added.rpartition(b"\n")
        # A line without an end is read again when it has one, unless it never may.
        self._position += len(added) if len(begun) == _MOST_BYTES else len(whole) + len(newline)
        found = [line for line in whole.split(b"\n") if _WORTH.search(line)]
        lines = [_STAMP.sub("", line.decode("utf-8", "replace").strip()) for line in found]
        return [line for line in lines if self._is_news(line)]

    def _is_news(self, line: str) -> bool:
        """Whether nothing like it was shown lately; what differs only in numbers is alike."""
        shape, now = _VARIABLE.sub("#", line), self._clock()
        if now - self._shown_at.get(shape, float("-inf")) < _REPEAT_AFTER_S:
            return False
        self._shown_at[shape] = now
        return True
