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

# What Redis says while it takes no writes: it is a replica since a fail-over, or cannot persist.
# Redis 6.2 wraps what a command inside a script raises into an error of the script.
_NO_WRITES = re.compile(r"(?:^|-)(?:READONLY|MISCONF|NOREPLICAS|MASTERDOWN) ")
_NEEDS = re.compile(r"^-- needs: (.+)$", re.MULTILINE)
_LUA = files("worker.buffer").joinpath("lua")
T = TypeVar("T")
_FIRST_WAIT_S, _MOST_WAIT_S = 0.05, 5.0


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
    """One operation; its file's header tells its arguments and what it returns."""

    __slots__ = ("name", "sha", "text")

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = "".join(_with_includes(_LUA.joinpath(f"{name}.lua").read_text(), set()))
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    def run(self, client: Any, base: str, *args: Any) -> Any:
        """Run on a blocking client; a server that does not know the script is given it.

        While Redis takes no writes, a client that may repeat a call repeats it, as often as it
        does when Redis is away. Nothing was changed: a script's first write is what is refused.
        """
        return _patiently(client, lambda: self._once(client, base, args))

    def _once(self, client: Any, base: str, args: Sequence[Any]) -> Any:
        try:
            return client.evalsha(self.sha, 2, base, guard(base), *args)
        except NoScriptError:
            return self.introduce(client, base, args)

    def introduce(self, client: Any, base: str, args: Sequence[Any]) -> Any:
        """Run on a server that does not know the script yet; await it of an asyncio client."""
        return client.eval(self.text, 2, base, guard(base), *args)

    async def run_async(self, client: Any, base: str, *args: Any) -> Any:
        """Run on an asyncio client."""
        try:
            return await client.evalsha(self.sha, 2, base, guard(base), *args)
        except NoScriptError:
            return await self.introduce(client, base, args)


def run_together(
    client: Any, base: str, calls: Sequence[tuple[str, Sequence[Any]]], read: str
) -> list[Any]:
    """Run operations (name, arguments) in their order, and read a whole list after them.

    It is one round trip, but no atomic step: each operation is one. Returns the answers, and the
    list as the last of them.
    """
    scripts = [(script(name), args) for name, args in calls]
    if isinstance(client, RedisCluster):  # redis-py has no scripts in a cluster's pipelines
        answers = [each.run(client, base, *args) for each, args in scripts]
        return [*answers, client.lrange(read, 0, -1)]
    return _patiently(client, lambda: _once_together(client, base, scripts, read))


def _once_together(
    client: Any, base: str, scripts: Sequence[tuple[Script, Sequence[Any]]], read: str
) -> list[Any]:
    with client.pipeline(transaction=False) as pipeline:
        for each, args in scripts:
            pipeline.evalsha(each.sha, 2, base, guard(base), *args)
        pipeline.lrange(read, 0, -1)
        answers: list[Any] = pipeline.execute(raise_on_error=False)
    for at, (each, args) in enumerate(scripts):
        if isinstance(answers[at], NoScriptError):
            answers[at] = each.introduce(client, base, args)
            answers[-1] = client.lrange(read, 0, -1)
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def _patiently(client: Any, call: Callable[[], T]) -> T:
    """Call, and call again while Redis takes no writes, as often as the client repeats calls."""
    attempt = 0
    while True:
        try:
            return call()
        except ResponseError as error:
            attempt += 1
            if not _refuses_writes(error) or attempt > client.get_retry().get_retries():
                raise
            time.sleep(backoff(attempt, _FIRST_WAIT_S, _MOST_WAIT_S, random()))


def _refuses_writes(error: ResponseError) -> bool:
    return isinstance(error, ReadOnlyError) or _NO_WRITES.search(str(error)) is not None


def is_out_of_memory(error: Exception) -> bool:
    """Return whether Redis had no memory for a write.

    A transaction quotes its command's error; Redis 6.2 wraps it into an error of the script.
    """
    return isinstance(error, OutOfMemoryError) or "used memory > 'maxmemory'" in str(error)


@cache
def script(name: str) -> Script:
    """The operation of that name, read once."""
    return Script(name)
