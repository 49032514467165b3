"""The state of CleverTap's Get Event Count API: pending counts, polled by ``req_id``."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from worker.sandbox.ledger import Ledger
from worker.sandbox.queries import Query, QueryRefused, count
from worker.sandbox.settings import SandboxSettings


@dataclass(slots=True)
class _Count:
    query: Query
    partials: int
    made_at: float


class Counts:
    """Pending counts: each is ``partial`` a set number of times before its result."""

    def __init__(
        self, ledger: Ledger, settings: SandboxSettings, clock: Callable[[], float]
    ) -> None:
        self._ledger, self._settings, self._clock = ledger, settings, clock
        self._counts: dict[int, _Count] = {}

    def forget(self) -> None:
        """Forget every req_id."""
        self._counts.clear()

    def start(self, query: Query) -> dict[str, Any]:
        """Start a count and return the first response."""
        self._counts = {key: each for key, each in self._counts.items() if not self._is_old(each)}
        pending = _Count(query, self._settings.count_partials, self._clock())
        return self._response(secrets.randbelow(10**15) + 10**14, pending)

    def poll(self, request_id: str) -> dict[str, Any]:
        """Return the response to a poll; raise `QueryRefused` for an unknown or expired id."""
        key = int(request_id) if re.fullmatch("[0-9]{1,18}", request_id) else 0
        pending = self._counts.get(key)
        if pending is None or self._is_old(pending):
            raise QueryRefused("invalid request id", 400, 400)
        return self._response(key, pending)

    def _response(self, key: int, pending: _Count) -> dict[str, Any]:
        if pending.partials <= 0:
            return {"status": "success", "count": count(self._ledger, pending.query)}
        pending.partials -= 1
        self._counts[key] = pending
        return {"req_id": key, "status": "partial"}

    def _is_old(self, pending: _Count) -> bool:
        return self._clock() - pending.made_at > self._settings.request_id_life_s
