"""Ports of this machine's loopback."""

from __future__ import annotations

import socket
from collections import deque

# A port that was found free is taken by somebody else before its server listens, or while that is
# down: tests run side by side, and the kernel gives connections ports of the same range. So each
# port stays bound, here, as long as a test may need it. Servers listen on it all the same, since
# they bind with SO_REUSEADDR; nobody else is given it.
_held: deque[socket.socket] = deque()
MOST_HELD = 200  # more than a test takes


def find_free_port(room_for: int = 0) -> int:
    """A port nobody listens on, and that is nobody else's; a server of the test's may have it.

    With ``room_for`` the port that lies so many above it is the server's too.
    """
    while True:
        first = _bound(0)
        port: int = first.getsockname()[1]
        try:
            found = [first, _bound(port + room_for)] if room_for else [first]
        except (OSError, OverflowError):  # somebody's, or beyond the last port
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
    """Whether somebody accepts connections there."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host, port)) == 0
