"""The checks of profileData: the vendor's own keys, the operators, and custom properties."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from ..json_values import scalar_rule
from ..validation import MAX_ERRORS, Broken, FieldErrors, Rule, add, collect, join
from . import rules
from .property_rules import PropertyRules

# Recorded: +35922333232 passes; 223, 123 and +44+441234 fail. E.164 allows 15 digits.
_PHONE: Final = re.compile(r"\+[1-9][0-9]{5,14}")
# Recorded: 1234 and $$$$$ fail. No more is asked than one @ and a domain with a dot.
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s.]+(?:\.[^@\s.]+)+\.?")
_AGE: Final = re.compile(r"\s*[0-9]+(?:\.[0-9]+)?\s*")

_FLAGS: Final = ("email", "push", "sms", "whatsapp", "dndPhone", "dndEmail", "dndSMS")
_CATEGORIES: Final = ("category-unsubscribe", "category-resubscribe")


class ProfileRules:
    """Checks profile properties against one account's limits; holds no state."""

    def __init__(self, limits: rules.CleverTapLimits) -> None:
        self._limits = limits
        self._properties = PropertyRules(limits)
        self._safe_chars = limits.key_length // 4
        self._bad_key = Rule(f"must be a name of at most {limits.key_length} bytes in UTF-8")
        self._too_many = Rule(f"must hold at most {limits.profile_properties} custom properties")

    def errors(self, data: dict[Any, Any]) -> Broken:
        """Check a profile's properties, by path inside profileData."""
        if len(data) > self._limits.profile_properties and (
            sum(_is_custom(key) for key in data) > self._limits.profile_properties
        ):
            return self._too_many
        errors: FieldErrors = {}
        for key, value in data.items():
            found = self._key_rule(key) or self._value_errors(key, value)
            if found:
                add(errors, join("", key), found)
                if len(errors) >= MAX_ERRORS:
                    break
        return errors or None

    def _key_rule(self, key: Any) -> Rule | None:
        if not isinstance(key, str):
            return rules.BAD_KEY
        if len(key) <= self._safe_chars:
            return None
        size = len(str.encode(key, "utf-8", "surrogatepass"))
        return self._bad_key if size > self._limits.key_length else None

    def _value_errors(self, key: str, value: Any) -> Broken:
        if isinstance(value, dict):
            return self._object_errors(key, value)
        if rule := self._properties.single_rule(value):
            return rule
        standard = _STANDARD.get(key)
        if standard is not None and value is not None:
            is_right, rule = standard
            return None if is_right(value) else rule
        if isinstance(value, list | tuple):
            return self._list_errors(value, rules.NOT_FLAT_PROFILE)
        return None

    def _object_errors(self, key: str, value: dict[Any, Any]) -> Broken:
        if key in _CATEGORIES:
            return None if _is_categories(value) else rules.BAD_CATEGORIES
        if not any(isinstance(name, str) and name[:1] == "$" for name in value):
            # An empty object is dropped by the vendor; any other is for its beta.
            return self._properties.nested_errors(value, rules.NOT_FLAT_PROFILE) if value else None
        return collect((name, self._operator_errors(name, each)) for name, each in value.items())

    def _operator_errors(self, operator: Any, operand: Any) -> Broken:
        if operator in ("$add", "$remove"):
            return self._list_errors(operand, rules.BAD_OPERAND_LIST)
        if operator == "$set":
            if isinstance(operand, list | tuple):
                return self._list_errors(operand, rules.BAD_OPERAND_LIST)
            is_object = isinstance(operand, dict)
            return rules.BAD_OPERAND_LIST if is_object else self._properties.single_rule(operand)
        if operator in ("$incr", "$decr"):
            return rules.BAD_OPERAND_NUMBER if not _is_number(operand) else scalar_rule(operand)
        if operator == "$delete":
            return None if _is_number(operand, bools=True) and operand == 1 else rules.BAD_DELETE
        return rules.BAD_OPERATOR

    def _list_errors(self, values: Any, rule: Rule) -> Broken:
        if not isinstance(values, list) and type(values) is not tuple:
            return rule
        return collect((at, self._element_errors(each, rule)) for at, each in enumerate(values))

    def _element_errors(self, value: Any, rule: Rule) -> Broken:
        if isinstance(value, dict | list | tuple):
            return self._properties.nested_errors(value, rule)
        return self._properties.single_rule(value)


def _is_custom(key: Any) -> bool:
    return key not in rules.STANDARD_PROFILE_KEYS and key not in _STANDARD


def _is_number(value: Any, *, bools: bool = False) -> bool:
    return isinstance(value, int | float) and (bools or not isinstance(value, bool))


def _matches(pattern: re.Pattern[str]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and bool(pattern.fullmatch(value))


def _one_of(*words: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and value in words


def _is_age(value: Any) -> bool:
    """Check an Age: "18" was recorded to pass and "aa" to fail."""
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
    "Gender": (_one_of("M", "F"), rules.BAD_GENDER),
    "Employed": (_one_of("Y", "N"), rules.BAD_EMPLOYED),
    "Education": (_one_of("School", "College", "Graduate"), rules.BAD_EDUCATION),
    "Married": (_one_of("Y", "N"), rules.BAD_MARRIED),
    "Age": (_is_age, rules.BAD_AGE),
    **{f"MSG-{flag}": (lambda value: isinstance(value, bool), rules.BAD_FLAG) for flag in _FLAGS},
    **dict.fromkeys(_CATEGORIES, (_is_categories, rules.BAD_CATEGORIES)),
}
