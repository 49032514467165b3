"""Ports of this machine's loopback."""

from __future__ import annotations

import socket
from collections import deque

# Another process may take a free port before its server listens, or while that is down: tests run
# in parallel, and the kernel gives connections ports of the same range. So each port stays bound
# here as long as a test may need it. Servers can still listen on it, because they bind with
# SO_REUSEADDR, and no other process gets it.
_held: deque[socket.socket] = deque()
MOST_HELD = 200  # more than a test takes


def find_free_port(room_for: int = 0) -> int:
    """Return a port reserved for a server of the test.

    With ``room_for``, the port that many numbers above it is reserved too.
    """
    while True:
        first = _bound(0)
        port: int = first.getsockname()[1]
        try:
            found = [first, _bound(port + room_for)] if room_for else [first]
        except (OSError, OverflowError):  # in use, or beyond the last port
            first.close()
            continue
        _held.extend(found)
        while len(_held) > MOST_HELD:
            _held.popleft().close()
        return port


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(("127.0.0.1", port))
    except (OSError, OverflowError):
        bound.close()
        raise
    return bound


def listens(port: int, host: str = "127.0.0.1") -> bool:
    """Return whether a server accepts connections there."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host, port)) == 0
