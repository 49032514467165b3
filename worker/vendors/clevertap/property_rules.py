"""The checks of evtData (flat properties, a Charged event's Items) and profileData.

One pass over the properties with type look-ups: a Nested marshmallow schema per property costs
more than the rest of the record together (docs/decisions/0010).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from ..json_values import NO_NUMBER, json_errors, scalar_rule
from ..validation import MAX_ERRORS, Broken, FieldErrors, Rule, add, collect, join
from . import rules

_CONTAINERS: Final = (dict, list, tuple)
# Below these a text needs no counting: UTF-8 takes at most four bytes for a character.
_SAFE_KEY_CHARS: Final = rules.KEY_LENGTH // 4
_SAFE_CHARS: Final = rules.VALUE_BYTES // 4

# Recorded: +35922333232 passes; 223, 123 and +44+441234 fail. E.164 allows 15 digits.
_PHONE: Final = re.compile(r"\+[1-9][0-9]{5,14}")
# Recorded: 1234 and $$$$$ fail. No more is asked than one @ and a domain with a dot.
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s.]+(?:\.[^@\s.]+)+\.?")
# Recorded: "18" passes and "aa" fails.
_AGE: Final = re.compile(r"\s*[0-9]+(?:\.[0-9]+)?\s*")

_FLAGS: Final = ("email", "push", "sms", "whatsapp", "dndPhone", "dndEmail", "dndSMS")
_CATEGORIES: Final = ("category-unsubscribe", "category-resubscribe")


class PropertyRules:
    """Checks property names and values against one account's limits."""

    def __init__(self, event_properties: int, nested: bool) -> None:
        self._event_properties = event_properties
        self._too_many = Rule(f"must hold at most {event_properties} properties", 522)
        self._nested = nested

    def event_errors(self, data: dict[Any, Any], name: Any) -> Broken:
        """Check an event's properties, by path inside evtData."""
        if len(data) > self._event_properties:
            return self._too_many
        return self._flat_errors(data, isinstance(name, str) and plain_name(name) == "charged")

    def profile_errors(self, data: dict[Any, Any]) -> Broken:
        """Check a profile's properties, by path inside profileData."""
        most = rules.PROFILE_PROPERTIES
        if len(data) > most and sum(key not in _NOT_CUSTOM for key in data) > most:
            return rules.TOO_MANY_CUSTOM
        return collect((key, self._profile_errors(key, value)) for key, value in data.items())

    def _flat_errors(self, data: dict[Any, Any], charged: bool = False) -> FieldErrors | None:
        """Check flat properties: the hot loop, with the common types inline."""
        errors: FieldErrors | None = None
        longest = rules.KEY_LENGTH
        for key, value in data.items():
            found: Broken
            kind = type(value)
            if kind is str:
                if len(value) <= _SAFE_CHARS and value[:3] != "$D_":
                    found = None
                else:
                    found = self._text_rule(value)
            elif kind is float:
                found = None if value - value == 0 else NO_NUMBER
            elif kind is int or kind is bool or value is None:
                found = None
            else:
                found = self._other_errors(key, value, charged)
            if not isinstance(key, str):
                found = rules.BAD_KEY
            elif len(key) > longest:
                found = rules.LONG_KEY
            if found is not None:
                errors = {} if errors is None else errors
                add(errors, join("", key), found)
                if len(errors) >= MAX_ERRORS:
                    break
        return errors

    def _other_errors(self, key: Any, value: Any, charged: bool) -> Broken:
        if not charged or key != "Items" or not isinstance(value, _CONTAINERS):
            return self._value_errors(value, rules.NOT_FLAT)
        if isinstance(value, dict):
            return rules.BAD_ITEMS
        if len(value) > rules.CHARGED_ITEMS:
            return rules.TOO_MANY_ITEMS
        return collect(
            (index, self._flat_errors(item) if isinstance(item, dict) else rules.BAD_ITEM)
            for index, item in enumerate(value)
        )

    def _text_rule(self, value: str) -> Rule | None:
        """Check a string's size, and that it is not a date in milliseconds."""
        if len(value) > _SAFE_CHARS and _is_longer(value, rules.VALUE_BYTES):
            return rules.LONG_VALUE
        if value.startswith("$D_") and rules.MILLISECONDS_DATE.fullmatch(value):
            return rules.DATE_IN_MILLISECONDS
        return None

    def _value_errors(self, value: Any, flat: Rule) -> Broken:
        """Check what must be a single value; ``flat`` is the rule that a container breaks."""
        if not isinstance(value, _CONTAINERS):
            return scalar_rule(value) or (
                self._text_rule(value) if isinstance(value, str) else None
            )
        if not self._nested:
            return flat
        return json_errors(value, "", rules.NESTED_DEPTH) or None

    def _profile_errors(self, key: Any, value: Any) -> Broken:
        if not isinstance(key, str):
            return rules.BAD_KEY
        if len(key) > _SAFE_KEY_CHARS and _is_longer(key, rules.KEY_LENGTH):
            return rules.LONG_PROFILE_KEY
        if isinstance(value, dict) and key not in _CATEGORIES:
            return self._object_errors(value)
        flat = rules.NOT_FLAT_PROFILE
        is_single = not isinstance(value, _CONTAINERS)
        found = self._value_errors(value, flat) if is_single else None
        if found or value is None:
            return found
        if standard := _STANDARD.get(key):
            is_right, rule = standard
            return None if is_right(value) else rule
        return None if is_single else self._list_errors(value, flat)

    def _object_errors(self, value: dict[Any, Any]) -> Broken:
        if not any(isinstance(name, str) and name[:1] == "$" for name in value):
            # An empty object is dropped by the vendor; any other is for its beta.
            return self._value_errors(value, rules.NOT_FLAT_PROFILE) if value else None
        return collect((name, self._operator_errors(name, each)) for name, each in value.items())

    def _operator_errors(self, operator: Any, operand: Any) -> Broken:
        match operator:
            case "$set" if not isinstance(operand, _CONTAINERS):
                return self._value_errors(operand, rules.BAD_OPERAND_LIST)
            case "$add" | "$remove" | "$set":
                return self._list_errors(operand, rules.BAD_OPERAND_LIST)
            case "$incr" | "$decr":
                return scalar_rule(operand) if _is_number(operand) else rules.BAD_OPERAND_NUMBER
            case "$delete":
                is_one = isinstance(operand, int | float) and operand == 1
                return None if is_one else rules.BAD_DELETE
            case _:
                return rules.BAD_OPERATOR

    def _list_errors(self, values: Any, rule: Rule) -> Broken:
        if not isinstance(values, list) and type(values) is not tuple:
            return rule
        return collect((at, self._value_errors(each, rule)) for at, each in enumerate(values))


def plain_name(name: str) -> str:
    """Return an event name as the vendor compares them: without case and without spaces."""
    return "".join(name.split()).lower()


def _is_longer(text: str, most_bytes: int) -> bool:
    """Return whether a text that is not surely short enough is too long, in UTF-8."""
    return len(text) > most_bytes or len(str.encode(text, "utf-8", "surrogatepass")) > most_bytes


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _matches(pattern: re.Pattern[str]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and bool(pattern.fullmatch(value))


def _is_age(value: Any) -> bool:
    if isinstance(value, str):
        return bool(_AGE.fullmatch(value))
    return _is_number(value) and value >= 0


def _is_categories(value: Any) -> bool:
    """Check ``{"email": ["Newsletters"]}``: channels and the groups to leave or to join again."""
    return isinstance(value, dict) and all(
        isinstance(name, str)
        and type(groups) in (list, tuple)
        and all(isinstance(group, str) and not scalar_rule(group) for group in groups)
        for name, groups in value.items()
    )


_STANDARD: Final[dict[str, tuple[Callable[[Any], bool], Rule]]] = {
    "Phone": (_matches(_PHONE), rules.BAD_PHONE),
    "Email": (_matches(_EMAIL), rules.BAD_EMAIL),
    "Gender": (("M", "F").__contains__, rules.BAD_GENDER),
    "Employed": (("Y", "N").__contains__, rules.BAD_EMPLOYED),
    "Education": (("School", "College", "Graduate").__contains__, rules.BAD_EDUCATION),
    "Married": (("Y", "N").__contains__, rules.BAD_MARRIED),
    "Age": (_is_age, rules.BAD_AGE),
    **{f"MSG-{flag}": (lambda value: isinstance(value, bool), rules.BAD_FLAG) for flag in _FLAGS},
    **dict.fromkeys(_CATEGORIES, (_is_categories, rules.BAD_CATEGORIES)),
}
_NOT_CUSTOM: Final = rules.STANDARD_PROFILE_KEYS | _STANDARD.keys()
