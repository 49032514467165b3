"""A command's way to Redis: the address the settings give, with clients that tell soon."""

from __future__ import annotations

from collections.abc import Callable

import redis

from worker.address import redis_url
from worker.connections import bulk_client, operator_client
from worker.errors import SettingsError
from worker.settings import Settings


def operator(settings: Settings) -> redis.Redis:
    """A client for a command's questions; SettingsError when there is no address, or it is none."""
    return _client(operator_client, settings)


def bulk(settings: Settings) -> redis.Redis:
    """A client to send large chunks with; SettingsError as for `operator`."""
    return _client(bulk_client, settings)


def _client(make: Callable[[str], redis.Redis], settings: Settings) -> redis.Redis:
    url = redis_url(settings)
    try:
        return make(url)
    except ValueError as error:
        # The address is not shown: it may hold a password.
        raise SettingsError(
            "REDIS_URL: not an address; it looks like redis://host:6379/0"
        ) from error
