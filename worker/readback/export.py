"""Get Events: the pages of an export, and its events one by one.

Two steps: the question gives a cursor, a cursor gives a page and the next cursor, and the last page
gives none. Asking for a page twice is safe. A cursor lives four hours, or one unused (reported by
clients of the API; the vendor's page names no number); then the export has to begin again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Final

from ..errors import CursorExpired, VendorError
from ..settings.destination import Destination
from ..settings.settings import Settings
from ..vendors.clevertap.reads import ReplyKind, cursor_in
from .client import Reader, reading, refuse_unreadable
from .cursor_loop import Trail
from .queries import LARGEST_BATCH, ExportQuery, day_number

#: So often an export begins again because its cursor was lost; more often, it would never end.
RESTARTS: Final = 3
#: So many pages in a row may be without events; the vendor names no such thing as an empty page.
EMPTY_PAGES: Final = 1000


class CursorLost(Exception):
    """The vendor does not know the cursor (any more); the message is its own."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some events, as the vendor wrote them, and the cursor of those after them, if any.

    ``trail`` is where the cursors have led so far, for who goes on from the next one.
    """

    records: Sequence[Mapping[str, Any]]
    next_cursor: str | None
    trail: Trail = field(default_factory=Trail)


def start(reader: Reader, query: ExportQuery) -> str:
    """Start an export and return its first cursor; VendorError if the vendor gives none."""
    reply = reader.ask(reader.reads.start_export(query.body, query.parameters))
    try:
        cursor = cursor_in(reply.body, "cursor") if reply.kind is ReplyKind.DATA else None
    except ValueError as error:
        raise VendorError(f"the export did not begin: {error}") from error
    if cursor is None:
        raise VendorError(f"the export did not begin: {reply.error or 'the answer has no cursor'}")
    return cursor


def pages(reader: Reader, cursor: str, trail: Trail | None = None) -> Iterator[Page]:
    """Yield the pages from ``cursor`` to the end; raise CursorLost or VendorError.

    The next page is asked for when it is wanted, so one page is held at a time. ``trail`` is that
    of the page that named ``cursor``.
    """
    following: str | None = cursor
    trail = trail or Trail().after(cursor)
    empty = 0
    while following is not None:
        page = _page(reader, following)
        if page.next_cursor == following:
            raise VendorError("the vendor names the same cursor again: the export would never end")
        if page.next_cursor is not None:
            trail = trail.after(page.next_cursor)
        empty = 0 if page.records else empty + 1
        if empty > EMPTY_PAGES:
            raise VendorError(f"the vendor gave {empty} pages without events in a row, and no end")
        following = page.next_cursor
        yield replace(page, trail=trail)


def _page(reader: Reader, cursor: str) -> Page:
    reply = reader.ask(reader.reads.page(cursor))
    if reply.kind is ReplyKind.LOST:
        raise CursorLost(reply.error)
    records = reply.body.get("records")
    records = [] if records is None else records
    if reply.body.get("status", "success") != "success":
        raise VendorError("the vendor's page is not a whole one")
    if not isinstance(records, list) or not all(isinstance(each, dict) for each in records):
        raise VendorError("the vendor's page holds no list of events")
    try:
        return Page(records, cursor_in(reply.body, "next_cursor"))
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
    """Yield the events of that name, ``first`` to ``last``, in the vendor's shape.

    Each is ``{"profile": {..}, "ts": .., "event_props": {..}, "session_props": {..}}``, with ``ts``
    as yyyymmddhhmmss in the account's time zone. Days are as in ExportQuery; ``destination`` is
    one, or its name. Raises InvalidQuery at once, VendorError while reading, and CursorExpired when
    the cursor is lost after events were handed out: who begins again has those a second time. An
    export that can go on where it was is one to a file (`export_file`).
    """
    query = ExportQuery(
        event, day_number(first), day_number(last), batch_size, app, profile, events
    )
    if not isinstance(destination, Destination):
        destination = Settings.from_env().destination(destination)
    refuse_unreadable(destination)
    return _events(destination, query)


def _events(destination: Destination, query: ExportQuery) -> Iterator[dict[str, Any]]:
    with reading(destination) as reader:
        for page in pages_from_start(reader, query):
            for record in page.records:
                yield dict(record)


def pages_from_start(reader: Reader, query: ExportQuery) -> Iterator[Page]:
    """Yield all pages; restart while none was handed out, and raise CursorExpired after."""
    for _ in range(RESTARTS + 1):
        handed_out = 0
        try:
            for page in pages(reader, start(reader, query)):
                handed_out += len(page.records)
                yield page
        except CursorLost as error:
            lost = error
            if handed_out:
                raise CursorExpired(
                    f"the export's cursor was lost after {handed_out} events ({error}): "
                    "begin again, or export to a file, which can go on"
                ) from error
        else:
            return
    raise VendorError(f"the export's cursor was lost {RESTARTS + 1} times: {lost}")
