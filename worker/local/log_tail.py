"""The warnings and errors that are added to a log file."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

# As `telemetry` writes them ("... [warning  ] ..."), and as others do before it is set up.
_PROBLEM = re.compile(
    rb"\[(?:warning|error|critical)\s*\]|^(?:WARNING|ERROR|CRITICAL)\b|^\w*Error: "
)
_TIMESTAMP = re.compile(r"^\S+T\S+ ")
_VARIABLE = re.compile(r"[0-9a-f-]{6,}|\d+")  # ids, counts and durations
_MOST_BYTES = 256 * 1024
_REPEAT_AFTER_S = 30.0


class LogTail:
    """Reads from where it stopped; begins at the end of what is there already."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._shown_at: dict[str, float] = {}
        self._position = path.stat().st_size if path.exists() else 0

    def new_problems(self) -> list[str]:
        """Return the added warnings and errors, without timestamps and recent repetitions."""
        try:
            with self._path.open("rb") as log:
                if log.seek(0, 2) < self._position:
                    self._position = 0  # a new file began
                log.seek(self._position)
                added = log.read(_MOST_BYTES)
        except FileNotFoundError:
            return []
        complete, newline, begun = added.rpartition(b"\n")
        # A line without an end is read again when it has one, unless it is too long to ever fit.
        read = len(added) if len(begun) == _MOST_BYTES else len(complete) + len(newline)
        self._position += read
        found = [line for line in complete.split(b"\n") if _PROBLEM.search(line)]
        lines = [_TIMESTAMP.sub("", line.decode("utf-8", "replace").strip()) for line in found]
        return list(filter(self._is_new, lines))

    def _is_new(self, line: str) -> bool:
        """Return False if a line that differs only in numbers was shown recently."""
        shape, now = _VARIABLE.sub("#", line), self._clock()
        if now - self._shown_at.get(shape, float("-inf")) < _REPEAT_AFTER_S:
            return False
        self._shown_at[shape] = now
        return True
