"""A client of one server that runs a script in one short round trip."""

from __future__ import annotations

import os
from typing import Any

import redis
from redis.exceptions import RedisError, ResponseError

_TEXT = (bytes, str)


class LowLatencyClient(redis.Redis):
    """A client that runs a script once, without redis-py's overhead.

    redis-py prepares for the repetition and measurement of each call and each use of a connection:
    a quarter of the cost of the round trip (docs/decisions/0051). Here, connections from the pool
    are kept in a list, which threads use without a lock.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._idle: list[Any] = []

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: Any) -> Any:
        return self._once("EVALSHA", sha, numkeys, *keys_and_args)

    def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Any:
        """Run a script that Redis does not know yet, on a connection of our list: the pool may have
        no other left."""
        return self._once("EVAL", script, numkeys, *keys_and_args)

    def _once(self, *command: Any) -> Any:
        """Make one round trip. A connection that failed is closed, and kept in the list too.

        If a call is interrupted (by a signal handler, for example), its reply is still to come, and
        must not reach the next caller.
        """
        connection = self._connection()
        try:
            # Numbers as text: hiredis 3.5 crashes when a signal handler raises while it packs one.
            connection.send_command(*[e if type(e) in _TEXT else str(e) for e in command])
            return connection.read_response()
        except ResponseError:  # a reply
            raise
        except BaseException:
            connection.disconnect()
            raise
        finally:
            self._idle.append(connection)

    def _connection(self) -> Any:
        """Return an idle connection; the pool restores one that is closed or has unread data."""
        pool = self.connection_pool
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread took it
                break
            if connection.pid != os.getpid():  # forked: it is the parent's
                continue
            quiet = False
            try:
                quiet = _is_quiet(connection)
            finally:  # also when interrupted: the pool lends a limited number
                if not quiet:
                    pool.release(connection)
            return connection if quiet else pool.get_connection()
        return pool.get_connection()


def _is_quiet(connection: Any) -> bool:
    try:
        return connection.is_connected and not connection.can_read()
    except (RedisError, OSError):
        return False
