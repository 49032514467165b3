"""Queries of CleverTap's read-back APIs: an event, a range of days, and property filters. Pure.

A filter of the count API is ``{"name": .., "operator": .., "value": ..}``. The vendor's page shows
one operator, ``contains``; the others are named as in its dashboard, in the same spelling. Text is
compared without case; two numbers are compared as numbers.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

import orjson

from worker.sandbox.clevertap_rules import folded, folded_names
from worker.sandbox.ledger import Ledger, LedgerRecord

VENDOR = "clevertap"
# Listed on the vendor's page: the export API answers "not allowed" for each.
_NOT_EXPORTABLE = """Notification Sent, Notification Bounce, Notification Viewed,
    Notification Control Group, Notification Rendered, Notification System Control Group"""
NOT_EXPORTABLE = folded_names(_NOT_EXPORTABLE.split(","))
PropertyFilter = Callable[[Mapping[str, Any]], bool]


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

    def matches(self, vendor: str, kind: str, name: str, day: int) -> bool:
        """Return whether such a record matches, apart from the filters."""
        if vendor != VENDOR or kind != "event" or not self.first <= day <= self.last:
            return False
        return folded(name) == self.name

    def passes(self, body: bytes) -> bool:
        """Return whether a record with this body passes every filter."""
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
    filters = given.get("event_properties")
    if not isinstance(filters, list | None):
        raise _bad_filter("event_properties must be an array")
    return Query(folded(name), first, last, list(map(_filter, filters or ())))


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
    for row in ledger.rows():
        day = ledger.time.day_of(row.ts)
        if query.matches(row.vendor, row.kind, row.name, day) and query.passes(row.body):
            yield row


def count(ledger: Ledger, query: Query) -> int:
    """Count the matching records: from the exact counts or, with filters, by search."""
    if query.filters:
        return sum(1 for _ in find(ledger, query))
    return sum(number for key, number in ledger.tally.items() if query.matches(*key))


def _filter(given: Any) -> PropertyFilter:
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        raise _bad_filter("an event property needs a name")
    if "value" not in given:
        raise _bad_filter("an event property needs a value")
    test = OPERATORS.get(str(given.get("operator", "equals")))
    if test is None:
        raise _bad_filter("unknown operator")
    name, wanted = given["name"], given["value"]
    return lambda properties: name in properties and test(properties[name], wanted)


def _bad_filter(why: str) -> QueryRefused:
    return QueryRefused(f"Invalid event properties: {why}", 400, 400)


def _holds(compare: Callable[[float, float], bool], value: Any, wanted: Any) -> bool:
    left, right = _number(value), _number(wanted)
    return left is not None and right is not None and compare(left, right)


def _equals(value: Any, wanted: Any) -> bool:
    left, right = _number(value), _number(wanted)
    if left is not None and right is not None:
        return left == right
    return _folded_text(value) == _folded_text(wanted)


def _between(value: Any, wanted: Any) -> bool:
    if not (isinstance(wanted, list) and len(wanted) == 2):
        return False
    return _holds(operator.ge, value, wanted[0]) and _holds(operator.le, value, wanted[1])


def _one_of(value: Any, wanted: Any) -> bool:
    return any(_equals(value, one) for one in (wanted if isinstance(wanted, list) else [wanted]))


OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "equals": _equals,
    "not_equals": lambda value, wanted: not _equals(value, wanted),
    "contains": lambda value, wanted: _folded_text(wanted) in _folded_text(value),
    "not_contains": lambda value, wanted: _folded_text(wanted) not in _folded_text(value),
    "starts_with": lambda value, wanted: _folded_text(value).startswith(_folded_text(wanted)),
    "ends_with": lambda value, wanted: _folded_text(value).endswith(_folded_text(wanted)),
    "in": _one_of,
    "greater_than": partial(_holds, operator.gt),
    "greater_than_equals": partial(_holds, operator.ge),
    "less_than": partial(_holds, operator.lt),
    "less_than_equals": partial(_holds, operator.le),
    "between": _between,
}


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def _folded_text(value: Any) -> str:
    return str(value).casefold()
