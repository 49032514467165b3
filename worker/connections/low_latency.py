"""A client of one server for whom each call is one round trip, and a short one."""

from __future__ import annotations

import os
from typing import Any

import redis
from redis.exceptions import RedisError, ResponseError

_TEXT = (bytes, str)


class LowLatencyClient(redis.Redis):
    """A client that runs a script once, by the shortest way that redis-py has.

    Its own way records each call for repeating and measuring it, and each loan of a connection: a
    quarter of the price of the round trip (docs/decisions/0051). Here what the pool lent is kept
    in a list, of which threads may take and to which they may give without a lock.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._idle: list[Any] = []

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: Any) -> Any:
        """Run a script that Redis knows."""
        return self._once("EVALSHA", sha, numkeys, *keys_and_args)

    def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Any:
        """Run a script that Redis does not know yet: where all that the pool may lend is in our
        list, it would have no connection for that."""
        return self._once("EVAL", script, numkeys, *keys_and_args)

    def _once(self, *command: Any) -> Any:
        """One round trip. A connection that failed is kept as well, for it is closed then.

        A call that is interrupted (by a signal's handler, say) leaves an answer on its way: it must
        not be the next caller's.
        """
        connection = self._connection()
        try:
            # Numbers as text: hiredis 3.5 crashes when a signal's handler raises while it makes it.
            connection.send_command(*[e if type(e) in _TEXT else str(e) for e in command])
            return connection.read_response()
        except ResponseError:  # which is an answer
            raise
        except BaseException:
            connection.disconnect()
            raise
        finally:
            self._idle.append(connection)

    def _connection(self) -> Any:
        """One that is idle; those that are closed, or on which something came, the pool mends."""
        pool = self.connection_pool
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was quicker
                break
            if connection.pid != os.getpid():  # forked: it is the parent's
                continue
            quiet = False
            try:
                quiet = _is_quiet(connection)
            finally:  # interrupted or not: the pool lends only so many
                if not quiet:
                    pool.release(connection)
            return connection if quiet else pool.get_connection()
        return pool.get_connection()


def _is_quiet(connection: Any) -> bool:
    try:
        return connection.is_connected and not connection.can_read()
    except (RedisError, OSError):
        return False
