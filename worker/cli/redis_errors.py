"""What Redis' errors are called where a person reads them: the setting to mend first."""

from __future__ import annotations

import re

from redis.exceptions import AuthenticationError, ReadOnlyError, RedisError
from redis.sentinel import MasterNotFoundError

# What Redis 6 and 7 say to a client that greets them without a password they want.
_NO_PASSWORD = ("HELLO must be called with", "Authentication required", "unauthenticated")
# Redis 6 wraps what a command in a script says into words of the script.
_OF_SCRIPT = re.compile(r"^Error running script .*?@user_script: ?\d+: -?")


def in_words(error: RedisError) -> str:
    """One line, without a secret."""
    text = _OF_SCRIPT.sub("", " ".join(str(error).split())).rstrip(".") or type(error).__name__
    if any(each in text for each in _NO_PASSWORD):
        return "it wants a password, and REDIS_URL has none"
    if isinstance(error, AuthenticationError):
        return f"it refuses the user or the password of REDIS_URL: {text}"
    if "READONLY" in text or isinstance(error, ReadOnlyError):
        return "it is a replica, which takes no writes: REDIS_URL must name its master"
    if isinstance(error, MasterNotFoundError):  # whose text goes on with the clients' insides
        known = text.partition(" : ")[0]
        return f"{known}: no Sentinel of REDIS_URL answers, or none knows such a master"
    return text
