"""Get Events: the pages of an export, and its events one by one.

The query returns a cursor, a cursor returns a page and the next cursor, and the last page has none.
Pages may be requested again. A cursor lives four hours, or one unused (reported by clients of the
API; the vendor's page names no number); then the export has to start again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from ..errors import CursorExpired, VendorError
from ..settings.destination import Destination
from ..vendors.clevertap.reads import ReplyKind, cursor_in
from .client import Reader, readable, reading
from .queries import LARGEST_BATCH, ExportQuery, day_number

#: How often an export restarts after its cursor was lost; beyond that, it would never end.
RESTARTS: Final = 3
#: How many consecutive pages may be empty; the vendor's pages mention no empty page at all.
EMPTY_PAGES: Final = 1000


class CursorLost(Exception):
    """The vendor does not know the cursor (any more); the message is the vendor's."""


@dataclass(frozen=True, slots=True)
class CursorLoop:
    """Brent's cycle detection: finds a loop of any length and remembers one cursor.

    ``mark`` is compared with each cursor that follows it; it moves up after ``span`` of them, and
    the span doubles. So a loop is found within about three of its rounds.
    """

    mark: str = ""
    steps: int = 0
    span: int = 1

    def after(self, cursor: str) -> CursorLoop:
        """Return the state after one more cursor; raise VendorError for a loop."""
        if cursor == self.mark:
            raise VendorError(
                "the vendor's cursors form a loop: the export would never end, and what was "
                "exported may hold events more than once; start it again"
            )
        if not self.mark or self.steps + 1 == self.span:
            return CursorLoop(cursor, 0, 2 * self.span if self.mark else 1)
        return CursorLoop(self.mark, self.steps + 1, self.span)


@dataclass(frozen=True, slots=True)
class ExportPage:
    """Events as the vendor wrote them, the next page's cursor, and the loop detection so far."""

    records: Sequence[Mapping[str, Any]]
    next_cursor: str | None
    loop: CursorLoop


def start(reader: Reader, query: ExportQuery) -> str:
    """Start an export and return its first cursor; VendorError if the vendor gives none."""
    reply = reader.ask(reader.reads.start_export(query.body, query.parameters))
    try:
        cursor = cursor_in(reply.body, "cursor") if reply.kind is ReplyKind.DATA else None
    except ValueError as error:
        raise VendorError(f"the export did not start: {error}") from error
    if cursor is None:
        why = reply.error or "the response has no cursor"
        raise VendorError(f"the export did not start: {why}")
    return cursor


def pages(reader: Reader, cursor: str, loop: CursorLoop | None = None) -> Iterator[ExportPage]:
    """Yield the pages from ``cursor`` to the end; raise CursorLost or VendorError.

    Pages are requested one by one as they are consumed. ``loop`` belongs to the page that named
    ``cursor``.
    """
    following: str | None = cursor
    loop, empty = loop or CursorLoop().after(cursor), 0
    while following is not None:
        records, next_cursor = _page(reader, following)
        if next_cursor == following:
            raise VendorError("the vendor repeats its cursor: the export would never end")
        if next_cursor is not None:
            loop = loop.after(next_cursor)
        empty = 0 if records else empty + 1
        if empty > EMPTY_PAGES:
            raise VendorError(f"the vendor returned {empty} empty pages in a row, and no end")
        following = next_cursor
        yield ExportPage(records, next_cursor, loop)


def _page(reader: Reader, cursor: str) -> tuple[list[Mapping[str, Any]], str | None]:
    reply = reader.ask(reader.reads.page(cursor))
    if reply.kind is ReplyKind.LOST:
        raise CursorLost(reply.error)
    records = reply.body.get("records")
    records = [] if records is None else records
    if reply.body.get("status", "success") != "success":
        raise VendorError("the vendor's page is incomplete")
    if not isinstance(records, list) or not all(isinstance(each, dict) for each in records):
        raise VendorError("the vendor's page has no list of events")
    try:
        return records, cursor_in(reply.body, "next_cursor")
    except ValueError as error:
        raise VendorError(f"the vendor's page cannot be followed: {error}") from error


def export_events(
    event: str,
    first: int | str | date,
    last: int | str | date,
    *,
    batch_size: int = LARGEST_BATCH,
    app: bool | None = None,
    profile: bool | None = None,
    events: bool | None = None,
    destination: Destination | str | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield the events with that name, ``first`` to ``last``, in the vendor's shape.

    Each is ``{"profile": {..}, "ts": .., "event_props": {..}, "session_props": {..}}``, with ``ts``
    as yyyymmddhhmmss in the account's time zone. Days are as in ExportQuery; ``destination`` is
    one, or its name. Raises InvalidQuery at once, VendorError while reading, and CursorExpired if
    the cursor is lost after the first event: a new export would yield those events again.
    `export_file` can resume.
    """
    days = day_number(first), day_number(last)
    query = ExportQuery(event, *days, batch_size, app, profile, events)
    return _events(readable(destination), query)


def _events(destination: Destination, query: ExportQuery) -> Iterator[dict[str, Any]]:
    with reading(destination) as reader:
        for page in pages_from_start(reader, query):
            yield from map(dict, page.records)


def pages_from_start(reader: Reader, query: ExportQuery) -> Iterator[ExportPage]:
    """Yield all pages; restart before the first event, raise CursorExpired after it."""
    for _ in range(RESTARTS + 1):
        yielded = 0
        try:
            for page in pages(reader, start(reader, query)):
                yielded += len(page.records)
                yield page
        except CursorLost as error:
            lost = error
            if yielded:
                raise CursorExpired(
                    f"the export's cursor was lost after {yielded} events ({error}): "
                    "start again, or export to a file, which can resume"
                ) from error
        else:
            return
    raise VendorError(f"the export's cursor was lost {RESTARTS + 1} times: {lost}")
