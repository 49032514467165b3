"""The operations in `lua/`, ready to be called: one script, one atomic step.

A script gets two keys. KEYS[1] is its destination's base key, `ingest:{name}`: the names of all
other keys begin with it, so they live in one slot of a Redis Cluster. KEYS[2] is `:nothing`.
Neither ever exists: so while a cluster moves the slot, and its keys may be on either node, Redis
refuses a script before it begins (the old node says ASK, and the new one TRYAGAIN, as it does for
several keys of which one is missing). docs/redis.md lists the keys.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.resources import files
from random import random
from typing import Any, TypeVar

from redis.cluster import RedisCluster
from redis.exceptions import NoScriptError, OutOfMemoryError, ReadOnlyError, ResponseError

from ..connections.backoff import backoff
from .keys import guard

# The errors of a Redis that takes no writes now: it is a replica since a fail-over, or cannot
# persist. Redis 6.2 wraps what a command inside a script raises into an error of the script.
_NO_WRITES = re.compile(r"(?:^|-)(?:READONLY|MISCONF|NOREPLICAS|MASTERDOWN) ")
_NEEDS = re.compile(r"^-- needs: (.+)$", re.MULTILINE)
_LUA = files("worker.buffer").joinpath("lua")
_FIRST_WAIT_S, _MAX_WAIT_S = 0.05, 5.0
T = TypeVar("T")


def _with_includes(text: str, known: set[str]) -> Iterator[str]:
    """Yield the functions that a script needs, each after those that it needs; then the script."""
    for name in needs(text):
        if name not in known:
            known.add(name)
            include = _LUA.joinpath("includes", f"{name}.lua").read_text()
            yield from _with_includes(include, known)
    yield text


def needs(text: str) -> list[str]:
    """Return the names of `lua/includes/` in the `-- needs:` lines of a script or a function."""
    return [name for line in _NEEDS.findall(text) for name in line.split(", ")]


class Script:
    """One operation; the header of its file describes its arguments and what it returns."""

    __slots__ = ("name", "sha", "text")

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = "".join(_with_includes(_LUA.joinpath(f"{name}.lua").read_text(), set()))
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    def run(self, client: Any, base: str, *args: Any) -> Any:
        """Run on a blocking client, and load the script into a server that does not know it.

        While Redis takes no writes, repeat the call as often as the client does when Redis is
        away. Nothing was changed: a script's first write is what Redis refuses.
        """
        return _while_read_only(client, lambda: self._once(client, base, args))

    def _once(self, client: Any, base: str, args: Sequence[Any]) -> Any:
        try:
            return client.evalsha(self.sha, 2, base, guard(base), *args)
        except NoScriptError:
            return self.load_and_run(client, base, args)

    def load_and_run(self, client: Any, base: str, args: Sequence[Any]) -> Any:
        """Run on a server that does not know the script yet; await it with an asyncio client."""
        return client.eval(self.text, 2, base, guard(base), *args)

    async def run_async(self, client: Any, base: str, *args: Any) -> Any:
        """Run on an asyncio client."""
        try:
            return await client.evalsha(self.sha, 2, base, guard(base), *args)
        except NoScriptError:
            return await self.load_and_run(client, base, args)


script = cache(Script)  # by its name; the file is read once


def run_together(
    client: Any, base: str, calls: Sequence[tuple[str, Sequence[Any]]], read: str | None = None
) -> list[Any]:
    """Run operations (name, arguments) in order, then read a whole list if ``read`` names one.

    It is one round trip, but not one atomic step: each operation is one. Returns the replies, and
    the list as the last of them.
    """
    scripts = [(script(name), args) for name, args in calls]
    if isinstance(client, RedisCluster):  # redis-py has no scripts in a cluster's pipelines
        replies = [each.run(client, base, *args) for each, args in scripts]
        return [*replies, client.lrange(read, 0, -1)] if read else replies
    return _while_read_only(client, lambda: _run_pipeline(client, base, scripts, read))


def _run_pipeline(
    client: Any, base: str, scripts: Sequence[tuple[Script, Sequence[Any]]], read: str | None
) -> list[Any]:
    with client.pipeline(transaction=False) as pipeline:
        for each, args in scripts:
            pipeline.evalsha(each.sha, 2, base, guard(base), *args)
        if read:
            pipeline.lrange(read, 0, -1)
        replies: list[Any] = pipeline.execute(raise_on_error=False)
    for at, (each, args) in enumerate(scripts):
        if isinstance(replies[at], NoScriptError):
            replies[at] = each.load_and_run(client, base, args)
            if read:
                replies[-1] = client.lrange(read, 0, -1)
    for reply in replies:
        if isinstance(reply, Exception):
            raise reply
    return replies


def _while_read_only(client: Any, call: Callable[[], T]) -> T:
    """Call, and repeat it while Redis takes no writes, as often as the client repeats calls."""
    attempt = 0
    while True:
        try:
            return call()
        except ResponseError as error:
            attempt += 1
            no_writes = isinstance(error, ReadOnlyError) or _NO_WRITES.search(str(error))
            if not no_writes or attempt > client.get_retry().get_retries():
                raise
            time.sleep(backoff(attempt, _FIRST_WAIT_S, _MAX_WAIT_S, random()))


def is_out_of_memory(error: Exception) -> bool:
    """Return whether Redis had no memory for a write.

    A transaction quotes its command's error; Redis 6.2 wraps it into an error of the script.
    """
    return isinstance(error, OutOfMemoryError) or "used memory > 'maxmemory'" in str(error)
