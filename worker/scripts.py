"""The operations in `lua/`, ready to be called: one script, one atomic step."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from redis.exceptions import NoScriptError


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
        """Run on a blocking client; a server that does not know the script is given it."""
        try:
            return client.evalsha(self.sha, 1, base, *args)
        except NoScriptError:
            return client.eval(self.text, 1, base, *args)

    def run_and_read(self, client: Any, base: str, args: Sequence[Any], key: str) -> Any:
        """Run, and read a whole list after it, in one round trip; the answer, and the list."""
        try:
            with client.pipeline(transaction=False) as pipeline:
                pipeline.evalsha(self.sha, 1, base, *args)
                pipeline.lrange(key, 0, -1)
                return pipeline.execute()
        except NoScriptError:
            answer = client.eval(self.text, 1, base, *args)
            return answer, client.lrange(key, 0, -1)

    async def run_async(self, client: Any, base: str, *args: Any) -> Any:
        """Run on an asyncio client."""
        try:
            return await client.evalsha(self.sha, 1, base, *args)
        except NoScriptError:
            return await client.eval(self.text, 1, base, *args)


@cache
def script(name: str) -> Script:
    """The operation of that name, read once."""
    return Script(name)
