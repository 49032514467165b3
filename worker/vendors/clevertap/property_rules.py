"""The checks of evtData: flat properties, and the Items of a Charged event.

One pass over the properties with type look-ups: a Nested marshmallow schema per property costs
more than the rest of the record together (docs/decisions/0010).
"""

from __future__ import annotations

from typing import Any

from ..json_values import NO_NUMBER, json_errors, scalar_rule
from ..validation import MAX_ERRORS, Broken, FieldErrors, Rule, add, collect, join
from . import rules

# Below this a string needs no counting: UTF-8 takes at most four bytes for a character.
_BYTES_PER_CHAR = 4


class PropertyRules:
    """Checks property names and values against one account's limits; holds no state."""

    def __init__(self, limits: rules.CleverTapLimits) -> None:
        self._limits = limits
        self._key_chars = limits.key_length
        self._value_bytes = limits.value_bytes
        self._safe_chars = limits.value_bytes // _BYTES_PER_CHAR
        self._bad_key = Rule(f"must be a name of at most {limits.key_length} characters")
        self._bad_size = Rule(f"must be at most {limits.value_bytes} bytes in UTF-8")
        self._too_many = Rule(f"must hold at most {limits.event_properties} properties", 522)
        self._too_many_items = Rule(f"must hold at most {limits.charged_items} items", 512)

    def event_errors(self, data: dict[Any, Any], name: Any) -> Broken:
        """Check an event's properties, by path inside evtData."""
        if len(data) > self._limits.event_properties:
            return self._too_many
        charged = isinstance(name, str) and plain_name(name) == "charged"
        return self._flat_errors(data, charged=charged)

    def _flat_errors(self, data: dict[Any, Any], *, charged: bool = False) -> FieldErrors | None:
        """Check flat properties: the hot loop, with the common types inline."""
        errors: FieldErrors | None = None
        key_chars, safe_chars = self._key_chars, self._safe_chars
        for key, value in data.items():
            found: Broken
            kind = type(value)
            if kind is str:
                if len(value) <= safe_chars and value[:3] != "$D_":
                    found = None
                else:
                    found = self.text_rule(value)
            elif kind is float:
                found = None if value - value == 0 else NO_NUMBER
            elif kind is int or kind is bool or value is None:
                found = None
            else:
                found = self._other_errors(key, value, charged=charged)
            if type(key) is not str or len(key) > key_chars:
                found = self._key_rule(key) or found
            if found is not None:
                errors = {} if errors is None else errors
                add(errors, join("", key), found)
                if len(errors) >= MAX_ERRORS:
                    break
        return errors

    def text_rule(self, value: str) -> Rule | None:
        """Check a string's size, and that it is not a date in milliseconds."""
        if len(value) > self._safe_chars and (
            len(value) > self._value_bytes
            or len(str.encode(value, "utf-8", "surrogatepass")) > self._value_bytes
        ):
            return self._bad_size
        if value.startswith("$D_") and rules.MILLISECONDS_DATE.fullmatch(value):
            return rules.DATE_IN_MILLISECONDS
        return None

    def single_rule(self, value: Any) -> Rule | None:
        """Check a value that must be a single one; containers are checked elsewhere."""
        if isinstance(value, dict | list | tuple):
            return None
        return scalar_rule(value) or (self.text_rule(value) if isinstance(value, str) else None)

    def nested_errors(self, value: Any, flat: Rule) -> Broken:
        """Check an object or array where a single value is the rule."""
        if not self._limits.nested:
            return flat
        return json_errors(value, "", rules.NESTED_DEPTH) or None

    def _key_rule(self, key: Any) -> Rule | None:
        if not isinstance(key, str):
            return rules.BAD_KEY
        return self._bad_key if len(key) > self._key_chars else None

    def _other_errors(self, key: Any, value: Any, *, charged: bool) -> Broken:
        if not isinstance(value, dict | list | tuple):
            return self.single_rule(value)
        if charged and key == "Items":
            return self._items_errors(value)
        return self.nested_errors(value, rules.NOT_FLAT)

    def _items_errors(self, items: Any) -> Broken:
        if not isinstance(items, list | tuple):
            return rules.BAD_ITEMS
        if len(items) > self._limits.charged_items:
            return self._too_many_items
        return collect(
            (index, self._flat_errors(item) if isinstance(item, dict) else rules.BAD_ITEM)
            for index, item in enumerate(items)
        )


def plain_name(name: str) -> str:
    """Return an event name as the vendor compares them: without case and without spaces."""
    return "".join(name.split()).lower()
