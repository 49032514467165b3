"""A command's way to Redis: the address the settings give, with clients that tell soon."""

from __future__ import annotations

import redis

from worker.connections.clients import bulk_client, operator_client, redis_url
from worker.monitoring.overview import Overview
from worker.settings.settings import Settings


def operator(settings: Settings) -> redis.Redis:
    """A client for a command's questions; SettingsError when there is no address, or it is none."""
    return operator_client(redis_url(settings))


def bulk(settings: Settings) -> redis.Redis:
    """A client to send large chunks with; SettingsError as for `operator`."""
    return bulk_client(redis_url(settings))


def overview(only: str | None = None) -> Overview:
    """The destinations of this environment, or ``only`` one; UnknownDestination, SettingsError."""
    settings = Settings.from_env()
    return Overview.of(settings, operator(settings), only=only)
