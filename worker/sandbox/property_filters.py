"""Property filters of the count API: ``{"name": .., "operator": .., "value": ..}``. Pure.

The vendor's page shows one operator, ``contains``; the others are named as in its dashboard, in the
same spelling. Text is compared without case; two numbers are compared as numbers.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

PropertyFilter = Callable[[Mapping[str, Any]], bool]


class BadFilter(ValueError):
    """The filter has no name or value, or an operator that does not exist."""


def _numbers(compare: Callable[[float, float], bool]) -> Callable[[Any, Any], bool]:
    def test(value: Any, wanted: Any) -> bool:
        left, right = _number(value), _number(wanted)
        return left is not None and right is not None and compare(left, right)

    return test


def _equals(value: Any, wanted: Any) -> bool:
    left, right = _number(value), _number(wanted)
    if left is not None and right is not None:
        return left == right
    return _folded(value) == _folded(wanted)


def _contains(value: Any, wanted: Any) -> bool:
    return _folded(wanted) in _folded(value)


def _between(value: Any, wanted: Any) -> bool:
    if not (isinstance(wanted, list) and len(wanted) == 2):
        return False
    return _numbers(operator.ge)(value, wanted[0]) and _numbers(operator.le)(value, wanted[1])


def _one_of(value: Any, wanted: Any) -> bool:
    return any(_equals(value, one) for one in (wanted if isinstance(wanted, list) else [wanted]))


OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "equals": _equals,
    "not_equals": lambda value, wanted: not _equals(value, wanted),
    "contains": _contains,
    "not_contains": lambda value, wanted: not _contains(value, wanted),
    "starts_with": lambda value, wanted: _folded(value).startswith(_folded(wanted)),
    "ends_with": lambda value, wanted: _folded(value).endswith(_folded(wanted)),
    "in": _one_of,
    "greater_than": _numbers(operator.gt),
    "greater_than_equals": _numbers(operator.ge),
    "less_than": _numbers(operator.lt),
    "less_than_equals": _numbers(operator.le),
    "between": _between,
}


def read_filters(given: Any) -> Sequence[PropertyFilter]:
    """Return the filters of a request's ``event_properties``; raise `BadFilter`."""
    if given is None:
        return ()
    if not isinstance(given, list):
        raise BadFilter("event_properties must be an array")
    return [_read(each) for each in given]


def _read(given: Any) -> PropertyFilter:
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        raise BadFilter("an event property needs a name")
    if "value" not in given:
        raise BadFilter("an event property needs a value")
    test = OPERATORS.get(str(given.get("operator", "equals")))
    if test is None:
        raise BadFilter("unknown operator")
    name, wanted = given["name"], given["value"]
    return lambda properties: name in properties and test(properties[name], wanted)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def _folded(value: Any) -> str:
    return str(value).casefold()
