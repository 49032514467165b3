"""The state behind CleverTap's Get Event Count API: counts under way, polled for by ``req_id``."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from worker.sandbox.ledger import Ledger
from worker.sandbox.queries import Query, QueryRefused, counted
from worker.sandbox.settings import SandboxSettings


@dataclass(slots=True)
class _Count:
    query: Query
    partials: int
    made_at: float


class Counts:
    """Counts under way: each says ``partial`` a set number of times before its answer."""

    def __init__(
        self, ledger: Ledger, settings: SandboxSettings, clock: Callable[[], float]
    ) -> None:
        self._ledger, self._settings, self._clock = ledger, settings, clock
        self._counts: dict[int, _Count] = {}

    def forget(self) -> None:
        """Make every req_id given out unknown."""
        self._counts.clear()

    def start(self, query: Query) -> dict[str, Any]:
        """Answer the first request."""
        self._counts = {key: each for key, each in self._counts.items() if not self._is_old(each)}
        count = _Count(query, self._settings.count_partials, self._clock())
        return self._answer(secrets.randbelow(10**15) + 10**14, count)

    def poll(self, request_id: str) -> dict[str, Any]:
        """Answer a poll; raise `QueryRefused` for an id that is unknown or expired."""
        key = int(request_id) if re.fullmatch("[0-9]{1,18}", request_id) else 0
        count = self._counts.get(key)
        if count is None or self._is_old(count):
            raise QueryRefused("invalid request id", 400, 400)
        return self._answer(key, count)

    def _answer(self, key: int, count: _Count) -> dict[str, Any]:
        if count.partials <= 0:
            return {"status": "success", "count": counted(self._ledger, count.query)}
        count.partials -= 1
        self._counts[key] = count
        return {"req_id": key, "status": "partial"}

    def _is_old(self, count: _Count) -> bool:
        return self._clock() - count.made_at > self._settings.request_id_life_s
