"""A limit on sign-in attempts from one address: counted in Redis, so across all gateways."""

from __future__ import annotations

from hashlib import sha256
from ipaddress import IPv6Address, ip_address, ip_network

import redis

from worker.buffer.keys import DASHBOARD
from worker.buffer.scripts import script

# A person mistypes a few times; at about 1,400 guesses a day only the worst passwords are found.
MAX_ATTEMPTS = 5
WINDOW_S = 300


class LoginThrottle:
    """Counts attempts before they are checked, so that concurrent ones are counted too."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def wait_s(self, address: str) -> int:
        """Count an attempt; return 0 if it is allowed, else the seconds until the next one is."""
        reply = script("login_attempt").run(self._client, DASHBOARD, _network_id(address), WINDOW_S)
        attempts, left_s = map(int, reply)
        return 0 if attempts <= MAX_ATTEMPTS else max(1, left_s)

    def forget(self, address: str) -> None:
        """Reset the count after a successful sign-in."""
        self._client.delete(f"{DASHBOARD}:tries:{_network_id(address)}")


def _network_id(address: str) -> str:
    return sha256(_network(address).encode()).hexdigest()[:24]


def _network(address: str) -> str:
    """Return what counts as one client: of IPv6 a /64, since one household has 2^64 addresses."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        return str(found.ipv4_mapped or ip_network((found, 64), strict=False))
    return str(found)
