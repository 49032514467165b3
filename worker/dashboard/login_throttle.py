"""How often one address may try to sign in: counted in Redis, so over all gateways."""

from __future__ import annotations

from hashlib import sha256
from ipaddress import IPv6Address, ip_address, ip_network

import redis

from worker.buffer.keys import DASHBOARD
from worker.buffer.scripts import script

# A person mistypes a few times; a thousand guesses a day are too few for any but the worst words.
TRIES = 5
WINDOW_S = 300


class LoginThrottle:
    """Counts tries before they are looked at, so that parallel ones are counted too."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def wait_s(self, address: str) -> int:
        """Count a try; 0 when it may be made, else the seconds until the next one may."""
        told = script("login_attempt").run(self._client, DASHBOARD, _short(address), WINDOW_S)
        tries, left_s = map(int, told)
        return 0 if tries <= TRIES else max(1, left_s)

    def forget(self, address: str) -> None:
        """Somebody there has signed in."""
        self._client.delete(f"{DASHBOARD}:tries:{_short(address)}")


def _short(address: str) -> str:
    return sha256(_who(address).encode()).hexdigest()[:24]


def _who(address: str) -> str:
    """A household: of IPv6, everybody has 2^64 addresses."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv6Address) and found.ipv4_mapped:
        return str(found.ipv4_mapped)
    if isinstance(found, IPv6Address):
        return str(ip_network((found, 64), strict=False))
    return str(found)
