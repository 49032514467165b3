"""What is worth a person's attention in a log file that grows: its warnings and errors."""

from __future__ import annotations

import re
from pathlib import Path

# As `telemetry` writes them ("... [warning  ] ..."), and as others do before it is set up.
_WORTH = re.compile(rb"\[(?:warning|error|critical)\s*\]|^(?:WARNING|ERROR|CRITICAL)\b|^\w*Error: ")
_STAMP = re.compile(r"^\S+T\S+ ")
_MOST_BYTES = 256 * 1024


class LogTail:
    """Reads on where it stopped; begins at the end of what is there already."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = path.stat().st_size if path.exists() else 0

    def worth_showing(self) -> list[str]:
        """The warnings and errors that were added, without their times."""
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
        return [_STAMP.sub("", line.decode("utf-8", "replace").strip()) for line in found]
