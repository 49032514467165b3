"""The operations in `lua/`, ready to be called: one script, one atomic step."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from redis.backoff import ExponentialWithJitterBackoff
from redis.cluster import RedisCluster
from redis.exceptions import NoScriptError, ReadOnlyError, ResponseError

from .keys import guard

# What Redis says while it takes no writes: it is a replica since a fail-over, or cannot persist.
# Redis 6.2 wraps what a command inside a script raises into an error of the script.
_NO_WRITES = re.compile(r"(?:^|-)(?:READONLY|MISCONF|NOREPLICAS|MASTERDOWN) ")
_BACKOFF = ExponentialWithJitterBackoff(base=0.05, cap=5.0)


class Script:
    """One operation; its file's header tells its arguments and what it returns."""

    __slots__ = ("name", "sha", "text")

    def __init__(self, name: str) -> None:
        folder = files("worker").joinpath("lua")
        self.name = name
        self.text = "".join(
            folder.joinpath(f"{part}.lua").read_text() for part in ("prelude", name)
        )
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    def run(self, client: Any, base: str, *args: Any) -> Any:
        """Run on a blocking client; a server that does not know the script is given it.

        While Redis takes no writes, a client that may repeat a call repeats it, as often as it
        does when Redis is away. Nothing was changed: a script's first write is what is refused.
        """
        return _patiently(client, lambda: self._once(client, base, args))

    def run_and_read(self, client: Any, base: str, args: Sequence[Any], key: str) -> Any:
        """Run, and read a whole list after it, in one round trip; the answer, and the list."""
        return _patiently(client, lambda: self._once_and_read(client, base, args, key))

    def _once(self, client: Any, base: str, args: Sequence[Any]) -> Any:
        try:
            return client.evalsha(self.sha, 2, base, guard(base), *args)
        except NoScriptError:
            return client.eval(self.text, 2, base, guard(base), *args)

    def _once_and_read(self, client: Any, base: str, args: Sequence[Any], key: str) -> Any:
        if isinstance(client, RedisCluster):  # redis-py has no scripts in a cluster's pipelines
            return self._once(client, base, args), client.lrange(key, 0, -1)
        try:
            with client.pipeline(transaction=False) as pipeline:
                pipeline.evalsha(self.sha, 2, base, guard(base), *args)
                pipeline.lrange(key, 0, -1)
                return pipeline.execute()
        except NoScriptError:
            answer = client.eval(self.text, 2, base, guard(base), *args)
            return answer, client.lrange(key, 0, -1)

    async def run_async(self, client: Any, base: str, *args: Any) -> Any:
        """Run on an asyncio client."""
        try:
            return await client.evalsha(self.sha, 2, base, guard(base), *args)
        except NoScriptError:
            return await client.eval(self.text, 2, base, guard(base), *args)


def _patiently(client: Any, call: Callable[[], Any]) -> Any:
    """Call, and call again while Redis takes no writes, as often as the client repeats calls."""
    attempt = 0
    while True:
        try:
            return call()
        except ResponseError as error:
            attempt += 1
            if not _refuses_writes(error) or attempt > client.get_retry().get_retries():
                raise
            time.sleep(_BACKOFF.compute(attempt))


def _refuses_writes(error: ResponseError) -> bool:
    return isinstance(error, ReadOnlyError) or _NO_WRITES.search(str(error)) is not None


@cache
def script(name: str) -> Script:
    """The operation of that name, read once."""
    return Script(name)
