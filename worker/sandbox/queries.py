"""Queries of CleverTap's read-back APIs: an event name and a range of days. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import orjson

from worker.sandbox.clevertap_rules import folded
from worker.sandbox.ledger import Ledger, LedgerRecord
from worker.sandbox.property_filters import BadFilter, PropertyFilter, read_filters

VENDOR = "clevertap"
# Listed on the vendor's page: the export API answers "not allowed" for each.
NOT_EXPORTABLE = frozenset(
    folded(name)
    for name in (
        "Notification Sent",
        "Notification Bounce",
        "Notification Viewed",
        "Notification Control Group",
        "Notification Rendered",
        "Notification System Control Group",
    )
)


class QueryRefused(Exception):
    """A refusal by the API: its text, code and HTTP status."""

    def __init__(self, text: str, code: int | str, status: int = 200) -> None:
        super().__init__(text)
        self.text, self.code, self.status = text, code, status


@dataclass(frozen=True, slots=True)
class Query:
    """``first`` and ``last`` are days as yyyymmdd in the account's time zone, both included."""

    name: str
    first: int
    last: int
    filters: Sequence[PropertyFilter] = ()

    def matches(self, row: LedgerRecord, day: int) -> bool:
        """Return whether ``row``, an event of ``day``, matches; filters parse its body."""
        if row.vendor != VENDOR or row.kind != "event" or not self.first <= day <= self.last:
            return False
        return folded(row.name) == self.name and self._passes(row.body)

    def _passes(self, body: bytes) -> bool:
        if not self.filters:
            return True
        properties = orjson.loads(body).get("evtData", {})
        return all(passes(properties) for passes in self.filters)


def read_query(body: bytes) -> Query:
    """Parse the query in a request's body; raise `QueryRefused` with the vendor's codes."""
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise QueryRefused("Malformed request", 400, 400) from None
    name = given.get("event_name") if isinstance(given, dict) else None
    if not isinstance(name, str) or not name.strip():
        raise QueryRefused("Event name is mandatory", 400, 400)
    first, last = _day(given.get("from")), _day(given.get("to"))
    if first > last:
        # Clients report this code for bad dates; the text is ours.
        raise QueryRefused("Invalid date range", 4002)
    try:
        filters = read_filters(given.get("event_properties"))
    except BadFilter as error:
        raise QueryRefused(f"Invalid event properties: {error}", 400, 400) from None
    return Query(folded(name), first, last, filters)


def _day(value: Any) -> int:
    """Parse yyyymmdd, a number or (as some clients send) text."""
    try:
        text = str(int(value))
        date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except (TypeError, ValueError, OverflowError):
        raise QueryRefused("Invalid date", 4002) from None
    return int(text)


def find(ledger: Ledger, query: Query) -> Iterator[LedgerRecord]:
    """Yield the matching records still kept, in order of arrival."""
    return (row for row in ledger.rows() if query.matches(row, ledger.day_of(row.ts)))


def count(ledger: Ledger, query: Query) -> int:
    """Count the matching records: from the exact counts or, with filters, by search."""
    if query.filters:
        return sum(1 for _ in find(ledger, query))
    return sum(
        number
        for key, number in ledger.tally.items()
        if key.vendor == VENDOR
        and key.kind == "event"
        and query.first <= key.day <= query.last
        and folded(key.name) == query.name
    )
