"""The state behind CleverTap's read-back APIs: exports by cursor, and counts by ``req_id``.

Cursors behave as recorded and reported: they come percent-encoded and must be sent back unchanged
(encoded again they are "Incorrect Usage", code 3); the first page is "in progress" with code 2;
they expire; and the last page names no next cursor.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import orjson

from worker.sandbox.ledger import Ledger, LedgerRecord
from worker.sandbox.queries import Query, QueryRefused, count, find
from worker.sandbox.settings import SandboxSettings

LARGEST_PAGE = 5000  # vendor page
_MOST_EXPORTS = 100  # the oldest is forgotten first: each holds on to the records it found


@dataclass(frozen=True, slots=True)
class PageShape:
    """The size of an export's pages, and the parts of a record they hold."""

    page_size: int
    app: bool = False
    events: bool = True
    profile: bool = True


@dataclass(slots=True)
class _Export:
    """``cursors`` maps an offset to its (decoded) cursor."""

    rows: Sequence[LedgerRecord]
    shape: PageShape
    busy: int
    made_at: float
    used_at: float
    cursors: dict[int, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Count:
    query: Query
    partials: int
    made_at: float


class ReadBack:
    """Exports and counts under way; ``clock`` gives seconds and only its differences matter."""

    def __init__(
        self, ledger: Ledger, settings: SandboxSettings, clock: Callable[[], float]
    ) -> None:
        self._ledger, self._settings, self._clock = ledger, settings, clock
        self.forget()

    def forget(self) -> None:
        """Expire every cursor and req_id."""
        self._cursors: dict[str, tuple[_Export, int]] = {}
        self._exports: list[_Export] = []
        self._counts: dict[int, _Count] = {}

    def start_export(self, query: Query, shape: PageShape) -> str:
        """Return the first cursor, percent-encoded, of the records there now."""
        now = self._clock()
        rows = list(find(self._ledger, query))
        export = _Export(rows, shape, self._settings.busy_polls, now, now)
        self._exports.append(export)
        if len(self._exports) > _MOST_EXPORTS:
            for cursor in self._exports.pop(0).cursors.values():
                del self._cursors[cursor]
        return self._cursor(export, 0)

    def page(self, cursor: str) -> dict[str, Any]:
        """Return the page of ``cursor``, decoded once as any server does; raise `QueryRefused`."""
        if "%" in cursor:
            raise QueryRefused("Incorrect Usage", 3)
        export, offset = self._cursors.get(cursor, (None, 0))
        if export is None or self._is_expired(export):
            raise QueryRefused("Invalid cursor", "CURSOR_INVALIDATED")
        export.used_at = self._clock()
        if export.busy > 0:
            export.busy -= 1
            raise QueryRefused("Request still in progress, please retry later", 2)
        size, end = export.shape.page_size, offset + export.shape.page_size
        answer: dict[str, Any] = {"status": "success"}
        if offset:
            answer["previous_cursor"] = self._cursor(export, max(0, offset - size))
        if end < len(export.rows):
            answer["next_cursor"] = self._cursor(export, end)
        if export.rows:
            rows = export.rows[offset:end]
            answer["records"] = [self._record(row, export.shape) for row in rows]
        return answer

    def start_count(self, query: Query) -> dict[str, Any]:
        """Start a count and return the first response: ``partial`` a set number of times."""
        self._counts = {key: each for key, each in self._counts.items() if not self._is_old(each)}
        pending = _Count(query, self._settings.count_partials, self._clock())
        return self._partial_or_count(secrets.randbelow(10**15) + 10**14, pending)

    def poll_count(self, request_id: str) -> dict[str, Any]:
        """Return the response to a poll; raise `QueryRefused` for an unknown or expired id."""
        key = int(request_id) if re.fullmatch("[0-9]{1,18}", request_id) else 0
        pending = self._counts.get(key)
        if pending is None or self._is_old(pending):
            raise QueryRefused("invalid request id", 400, 400)
        return self._partial_or_count(key, pending)

    def _partial_or_count(self, key: int, pending: _Count) -> dict[str, Any]:
        if pending.partials <= 0:
            return {"status": "success", "count": count(self._ledger, pending.query)}
        pending.partials -= 1
        self._counts[key] = pending
        return {"req_id": key, "status": "partial"}

    def _is_old(self, pending: _Count) -> bool:
        return self._clock() - pending.made_at > self._settings.request_id_life_s

    def _is_expired(self, export: _Export) -> bool:
        now = self._clock()
        too_old = now - export.made_at > self._settings.cursor_life_s
        return too_old or now - export.used_at > self._settings.cursor_idle_s

    def _cursor(self, export: _Export, offset: int) -> str:
        cursor = export.cursors.get(offset)
        if cursor is None:
            # 50 bytes end in one "=": every cursor contains something to encode.
            cursor = base64.b64encode(secrets.token_bytes(50), altchars=b"-/").decode()
            export.cursors[offset] = cursor
            self._cursors[cursor] = (export, offset)
        return quote(cursor, safe="")

    def _record(self, row: LedgerRecord, shape: PageShape) -> dict[str, Any]:
        sent, ts = orjson.loads(row.body), self._ledger.time.second_of(row.ts)
        record: dict[str, Any] = {"profile": _profile(sent, shape), "ts": ts}
        if shape.events:
            record["event_props"] = sent.get("evtData", {})
            record["session_props"] = {"session_source": "Others"}
        return record


def page_size(asked: str | None) -> int:
    """Return the page size for the requested ``batch_size``; raise `QueryRefused`."""
    if asked is None:
        return LARGEST_PAGE
    if not re.fullmatch("0*[1-9][0-9]{0,8}", asked):
        raise QueryRefused("Invalid batch_size", 400, 400)
    return min(int(asked), LARGEST_PAGE)


def _profile(sent: Mapping[str, Any], shape: PageShape) -> dict[str, Any]:
    profile: dict[str, Any] = {"platform": "Others"}
    if "objectId" in sent:
        profile["objectId"] = sent["objectId"]
    if "identity" in sent:
        profile["identity"] = str(sent["identity"])
    if shape.app:
        profile |= {"os_version": "", "app_version": "", "make": "", "model": ""}
    return profile | {"profileData": {}} if shape.profile else profile
