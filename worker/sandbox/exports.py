"""The state behind CleverTap's Get Events API: exports, paged by cursor.

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

from worker.sandbox.account_time import AccountTime
from worker.sandbox.ledger import Ledger, LedgerRecord
from worker.sandbox.queries import Query, QueryRefused, find
from worker.sandbox.settings import SandboxSettings

LARGEST_PAGE = 5000  # vendor page
_MOST_EXPORTS = 100  # the oldest is forgotten first: each holds on to the records it found
IN_PROGRESS = ("Request still in progress, please retry later", 2)
INCORRECT_USAGE = ("Incorrect Usage", 3)
INVALIDATED = ("Invalid cursor", "CURSOR_INVALIDATED")


@dataclass(frozen=True, slots=True)
class PageShape:
    """The size of an export's pages, and the parts of a record they hold."""

    page_size: int
    app: bool = False
    events: bool = True
    profile: bool = True


@dataclass(slots=True)
class _Export:
    """``pages`` maps an offset to its (decoded) cursor."""

    rows: Sequence[LedgerRecord]
    shape: PageShape
    busy: int
    made_at: float
    used_at: float
    pages: dict[int, str] = field(default_factory=dict)


class Exports:
    """Exports under way; ``clock`` gives seconds and only its differences matter."""

    def __init__(
        self,
        ledger: Ledger,
        time: AccountTime,
        settings: SandboxSettings,
        clock: Callable[[], float],
    ) -> None:
        self._ledger, self._time, self._settings, self._clock = ledger, time, settings, clock
        self._cursors: dict[str, tuple[_Export, int]] = {}
        self._exports: list[_Export] = []

    def forget(self) -> None:
        """Expire every cursor."""
        self._cursors.clear()
        self._exports.clear()

    def start(self, query: Query, shape: PageShape) -> str:
        """Return the first cursor, percent-encoded, of the records there now."""
        now = self._clock()
        rows = list(find(self._ledger, query))
        export = _Export(rows, shape, self._settings.busy_polls, now, now)
        self._exports.append(export)
        if len(self._exports) > _MOST_EXPORTS:
            for cursor in self._exports.pop(0).pages.values():
                del self._cursors[cursor]
        return self._cursor(export, 0)

    def page(self, cursor: str) -> dict[str, Any]:
        """Return the page of ``cursor``, decoded once as any server does; raise `QueryRefused`."""
        if "%" in cursor:
            raise QueryRefused(*INCORRECT_USAGE)
        export, offset = self._cursors.get(cursor, (None, 0))
        if export is None or self._is_expired(export):
            raise QueryRefused(*INVALIDATED)
        export.used_at = self._clock()
        if export.busy > 0:
            export.busy -= 1
            raise QueryRefused(*IN_PROGRESS)
        return self._page(export, offset)

    def _page(self, export: _Export, offset: int) -> dict[str, Any]:
        end = offset + export.shape.page_size
        answer: dict[str, Any] = {"status": "success"}
        if offset:
            answer["previous_cursor"] = self._cursor(
                export, max(0, offset - export.shape.page_size)
            )
        if end < len(export.rows):
            answer["next_cursor"] = self._cursor(export, end)
        if export.rows:
            rows = export.rows[offset:end]
            answer["records"] = [_record(row, export.shape, self._time) for row in rows]
        return answer

    def _is_expired(self, export: _Export) -> bool:
        now = self._clock()
        too_old = now - export.made_at > self._settings.cursor_life_s
        return too_old or now - export.used_at > self._settings.cursor_idle_s

    def _cursor(self, export: _Export, offset: int) -> str:
        cursor = export.pages.get(offset)
        if cursor is None:
            # 50 bytes end in one "=": every cursor contains something to encode.
            cursor = base64.b64encode(secrets.token_bytes(50), altchars=b"-/").decode()
            export.pages[offset] = cursor
            self._cursors[cursor] = (export, offset)
        return quote(cursor, safe="")


def page_size(asked: str | None) -> int:
    """Return the page size for the requested ``batch_size``; raise `QueryRefused`."""
    if asked is None:
        return LARGEST_PAGE
    if not re.fullmatch("0*[1-9][0-9]{0,8}", asked):
        raise QueryRefused("Invalid batch_size", 400, 400)
    return min(int(asked), LARGEST_PAGE)


def _record(row: LedgerRecord, shape: PageShape, time: AccountTime) -> dict[str, Any]:
    sent = orjson.loads(row.body)
    record: dict[str, Any] = {"profile": _profile(sent, shape), "ts": time.second_of(row.ts)}
    if shape.events:
        record["event_props"] = sent.get("evtData", {})
        record["session_props"] = {"session_source": "Others"}
    return record


def _profile(sent: Mapping[str, Any], shape: PageShape) -> dict[str, Any]:
    profile: dict[str, Any] = {"platform": "Others"}
    if "objectId" in sent:
        profile["objectId"] = sent["objectId"]
    if "identity" in sent:
        profile["identity"] = str(sent["identity"])
    if shape.app:
        profile |= {"os_version": "", "app_version": "", "make": "", "model": ""}
    if shape.profile:
        profile["profileData"] = {}
    return profile
