"""A command's Redis: clients with short timeouts, and errors that name the setting to fix.

redis-py is loaded when a function here is called: no command's help needs it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from worker.settings.settings import Settings

if TYPE_CHECKING:
    import redis
    from redis.exceptions import RedisError

    from worker.dead_letters.letters import LetterFilter, Selection
    from worker.monitoring.overview import Overview

# What Redis 6 and 7 answer to a client that greets them without the password they want.
_NO_PASSWORD = ("HELLO must be called with", "Authentication required", "unauthenticated")
# Redis 6 wraps the error of a command in a script.
_OF_SCRIPT = re.compile(r"^Error running script .*?@user_script: ?\d+: -?")


def operator_client(settings: Settings) -> redis.Redis:
    """Return a client for a command's questions; SettingsError without a valid address."""
    from worker.connections import clients

    return clients.operator_client(clients.redis_url(settings))


def bulk_client(settings: Settings) -> redis.Redis:
    """Return a client that sends large chunks; SettingsError as for `operator_client`."""
    from worker.connections import clients

    return clients.bulk_client(clients.redis_url(settings))


def overview(only: str | None = None) -> Overview:
    """Return the destinations of this environment, or one; UnknownDestination, SettingsError."""
    from worker.monitoring.overview import Overview

    settings = Settings.from_env()
    return Overview.of(settings, operator_client(settings), only=only)


def select_letters(destination: str | None, where: LetterFilter) -> list[Selection]:
    """Return the matching dead letters of each destination, or one; UnknownDestination."""
    from worker.dead_letters.letters import DeadLetters

    buffers = overview(destination).buffers.values()
    return [DeadLetters(each.client, each.destination).select(where) for each in buffers]


def describe_redis_error(error: RedisError) -> str:
    """Return one line, without a secret, that names the setting to fix where one is at fault."""
    from redis.exceptions import AuthenticationError, ReadOnlyError
    from redis.sentinel import MasterNotFoundError

    text = _OF_SCRIPT.sub("", " ".join(str(error).split())).rstrip(".") or type(error).__name__
    if any(each in text for each in _NO_PASSWORD):
        return "it wants a password, and REDIS_URL has none"
    if isinstance(error, AuthenticationError):
        return f"it refuses the user or the password of REDIS_URL: {text}"
    if "READONLY" in text or isinstance(error, ReadOnlyError):
        return "it is a replica, which takes no writes: REDIS_URL must name its master"
    if isinstance(error, MasterNotFoundError):  # the rest of its text shows redis-py's clients
        known = text.partition(" : ")[0]
        return f"{known}: no Sentinel of REDIS_URL answers, or none knows such a master"
    return text
