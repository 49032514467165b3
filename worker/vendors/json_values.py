"""Finds values that JSON cannot carry as they are.

orjson converts some of them silently (NaN becomes null, a UUID a string), so what a vendor's own
checks do not look into is walked here: a record is sent as it was given, or refused.
"""

from __future__ import annotations

from math import isfinite
from typing import Any

from .validation import MAX_ERRORS, FieldErrors, Rule, join

MAX_DEPTH = 200  # orjson gives up at 254 levels; real records have one or two
MAX_VALUES = 100_000  # bounds a structure that contains itself, or shares its parts many times

NO_TEXT = Rule("must be valid Unicode text: it holds a lone surrogate")
NO_INTEGER = Rule("must be an integer of at most 64 bits")
NO_NUMBER = Rule("must be a finite number: JSON has no NaN and no infinity")
NO_KEY = Rule("must be keyed by strings")
TOO_DEEP = Rule(f"must not be nested deeper than {MAX_DEPTH} levels")
TOO_MANY = Rule(f"must not hold more than {MAX_VALUES} values")


def json_errors(value: Any, path: str, max_depth: int = MAX_DEPTH) -> FieldErrors:
    """Return what JSON cannot carry in ``value``, by path; at most `MAX_ERRORS` places."""
    errors: FieldErrors = {}
    stack: list[tuple[Any, str, int]] = [(value, path, 0)]
    seen = 0
    while stack and len(errors) < MAX_ERRORS:
        item, where, depth = stack.pop()
        seen += 1
        if seen + len(stack) > MAX_VALUES:
            return {path: [TOO_MANY]}
        if isinstance(item, dict | list) or type(item) is tuple:  # orjson takes no named tuple
            if depth >= max_depth:
                errors[where] = [_too_deep(max_depth)]
            else:
                _push(stack, errors, item, where, depth + 1)
        elif rule := scalar_rule(item):
            errors[where] = [rule]
    return errors


def scalar_rule(value: Any) -> Rule | None:
    """Return the rule that a single value breaks, or None when JSON carries it unchanged."""
    if value is None or isinstance(value, bool):
        return None
    if isinstance(value, str):
        return NO_TEXT if _has_surrogate(value) else None
    if isinstance(value, int):
        return None if -(2**63) <= value < 2**64 else NO_INTEGER
    if type(value) is float:
        return None if isfinite(value) else NO_NUMBER
    return Rule(f"must be a JSON value, which a {type(value).__name__[:40]} is not")


def _push(
    stack: list[tuple[Any, str, int]], errors: FieldErrors, item: Any, where: str, depth: int
) -> None:
    if len(item) > MAX_VALUES:
        errors[where] = [TOO_MANY]
    elif isinstance(item, dict):
        for key, inner in item.items():
            if not isinstance(key, str):
                errors[where] = [NO_KEY]
            elif _has_surrogate(key):
                errors[join(where, key)] = [NO_TEXT]
            stack.append((inner, join(where, key), depth))
    else:
        stack.extend((inner, join(where, index), depth) for index, inner in enumerate(item))


def _too_deep(max_depth: int) -> Rule:
    if max_depth == MAX_DEPTH:
        return TOO_DEEP
    return Rule(f"must not be nested deeper than {max_depth} levels")


def _has_surrogate(text: str) -> bool:
    if text.isascii():
        return False
    try:
        str.encode(text)
    except UnicodeEncodeError:
        return True
    return False
