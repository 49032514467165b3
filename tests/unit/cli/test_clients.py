"""Redis' errors in words."""

from __future__ import annotations

import pytest
import redis.exceptions as errors
from redis.sentinel import MasterNotFoundError

from worker.cli.clients import describe_redis_error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            errors.AuthenticationError(
                "HELLO must be called with the client already authenticated"
            ),
            "it wants a password, and REDIS_URL has none",
        ),
        (
            errors.AuthenticationError("invalid username-password pair or user is disabled."),
            (
                "it refuses the user or the password of REDIS_URL: "
                "invalid username-password pair or user is disabled"
            ),
        ),
        (
            errors.ResponseError(
                "Error running script (call to f_0123): @user_script: 12: -READONLY You can't write"
            ),
            "it is a replica, which takes no writes: REDIS_URL must name its master",
        ),
        (
            MasterNotFoundError("No master found for 'records' : Redis<ConnectionPool<...>> - x"),
            (
                "No master found for 'records': no Sentinel of REDIS_URL answers, or none knows "
                "such a master"
            ),
        ),
        (
            errors.ConnectionError("Error 111 connecting.\n  refused."),
            "Error 111 connecting. refused",
        ),
        (errors.TimeoutError(), "TimeoutError"),
    ],
)
def test_describe_redis_error_names_the_setting_to_fix(error: errors.RedisError, text: str) -> None:
    """One line, without the insides of redis-py and of our scripts."""
    assert describe_redis_error(error) == text
