"""What Redis' errors are called where a person reads them: the setting to mend first."""

from __future__ import annotations

from redis.exceptions import AuthenticationError, RedisError
from redis.sentinel import MasterNotFoundError

# What Redis 6 and 7 say to a client that greets them without a password they want.
_NO_PASSWORD = ("HELLO must be called with", "Authentication required", "unauthenticated")


def in_words(error: RedisError) -> str:
    """One line, without a secret."""
    text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    if any(each in text for each in _NO_PASSWORD):
        return "it wants a password, and REDIS_URL has none"
    if isinstance(error, AuthenticationError):
        return f"it refuses the user or the password of REDIS_URL: {text}"
    if isinstance(error, MasterNotFoundError):  # whose text goes on with the clients' insides
        known = text.partition(" : ")[0]
        return f"{known}: no Sentinel of REDIS_URL answers, or none knows such a master"
    return text
