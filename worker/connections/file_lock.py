"""A lock on an open file, held by one process and released when that process ends."""

from __future__ import annotations

import fcntl
from typing import IO, Any


def lock_file(file: int | IO[Any]) -> bool:
    """Lock a file without waiting; return whether it was free."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
