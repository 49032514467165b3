"""Faults: rules that make the sandbox misbehave in one named way each. Pure.

A rule is a JSON object; docs/sandbox.md describes its kinds and keys. ``kind`` may be omitted where
other keys imply it. ``apply``, whether the records are kept all the same, defaults to true except
for ``http`` and ``empty``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from random import Random
from typing import Any, NamedTuple

KINDS = ("delay", "http", "drop", "truncate", "nonsense", "empty", "record")
VENDORS = ("clevertap", "bloomreach", "any")


class BadRule(ValueError):
    """The rule is invalid; the message says why."""


@dataclass(slots=True)
class FaultRule:
    """An active fault. ``times`` and ``after`` count down; None is unlimited."""

    kind: str
    vendor: str = "any"
    path: str = ""
    status: int = 503
    retry_after: str | None = None
    error: str | None = None
    body: str | None = None
    delay_ms: float = 0.0
    match: Mapping[str, Any] = field(default_factory=dict)
    code: int = 555
    apply: bool = True
    times: int | None = None
    after: int = 0
    probability: float = 1.0
    seed: int = 0
    id: int = field(default=0, init=False)
    met: int = field(default=0, init=False)
    _random: Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._random = Random(self.seed)

    def applies(self) -> bool:
        """Decide whether it applies now, and count that."""
        if self.times == 0:
            return False
        if self.after > 0:
            self.after -= 1
            return False
        if self.probability < 1 and self._random.random() >= self.probability:
            return False
        if self.times is not None:
            self.times -= 1
        self.met += 1
        return True

    def concerns(self, vendor: str, path: str) -> bool:
        """Return whether it applies to requests of ``vendor`` to ``path``."""
        return self.vendor in {vendor, "any"} and path.startswith(self.path)

    def describes(self, record: Any) -> bool:
        """Return whether every dotted path in ``match`` has its given value."""
        return all(_value_at(record, path) == value for path, value in self.match.items())

    def public(self) -> dict[str, Any]:
        """Return the rule as JSON, with its remaining and past uses."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name[0] != "_"}


class FaultPlan(NamedTuple):
    """The faults of one request: a delay, and at most one rule for its response."""

    delay_ms: float = 0.0
    rule: FaultRule | None = None


class Faults:
    """The active rules, in the order they were set; the first that applies wins."""

    def __init__(self) -> None:
        self._rules: list[FaultRule] = []
        self._next_id = 1

    def add(self, given: Any) -> FaultRule:
        """Add a rule; raise `BadRule`."""
        rule = read_rule(given)
        rule.id, self._next_id = self._next_id, self._next_id + 1
        self._rules.append(rule)
        return rule

    def clear(self, rule_id: int | None = None) -> int:
        """Remove one rule, or all; return the number removed."""
        before = len(self._rules)
        self._rules = [rule for rule in self._rules if rule_id not in (None, rule.id)]
        return before - len(self._rules)

    def listed(self) -> list[dict[str, Any]]:
        """Return every rule, spent ones included."""
        return [rule.public() for rule in self._rules]

    def plan(self, vendor: str, path: str) -> FaultPlan:
        """Plan the faults of the next request of ``vendor`` to ``path``."""
        delay_ms, chosen = 0.0, None
        for rule in self._rules:
            if rule.kind == "record" or not rule.concerns(vendor, path):
                continue
            if (rule.kind == "delay" or chosen is None) and rule.applies():
                delay_ms += rule.delay_ms
                chosen = chosen if rule.kind == "delay" else rule
        return FaultPlan(delay_ms, chosen)

    def record_rules(self, vendor: str, path: str) -> Sequence[FaultRule]:
        """Return the rules for single records; usually none."""
        live = [rule for rule in self._rules if rule.kind == "record" and rule.times != 0]
        return [rule for rule in live if rule.concerns(vendor, path)]


def applied(rules: Sequence[FaultRule], record: Any) -> FaultRule | None:
    """Return the first rule for single records that applies to ``record``, and count that."""
    return next((rule for rule in rules if rule.describes(record) and rule.applies()), None)


def read_rule(given: Any) -> FaultRule:
    """Build the rule that ``given`` describes; raise `BadRule`."""
    if not isinstance(given, dict):
        raise BadRule("a rule must be a JSON object")
    if unknown := set(given) - {each.name for each in fields(FaultRule) if each.init}:
        raise BadRule(f"unknown fields: {', '.join(sorted(unknown))}")
    kind = given.get("kind") or next((_IMPLIED[key] for key in _IMPLIED if key in given), "")
    if kind not in KINDS:
        raise BadRule(f"kind must be one of {', '.join(KINDS)}")
    if given.get("vendor", "any") not in VENDORS:
        raise BadRule(f"vendor must be one of {', '.join(VENDORS)}")
    for name, value in given.items():
        what, is_valid = _WANTED.get(name, ("", None))
        if is_valid and not (is_valid(value) or (value is None and name == "times")):
            raise BadRule(f"{name} must be {what}")
    return FaultRule(**{"apply": kind not in {"http", "empty"}, **given, "kind": kind})


def _value_at(record: Any, path: str) -> Any:
    for step in path.split("."):
        record = record.get(step) if isinstance(record, dict) else None
    return record


def _is_number(value: Any, most: float = math.inf) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and _is_number(value)


def _is_line(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and value.isascii()


# The kind of a rule without one, by the first of these keys that it has.
_IMPLIED = {
    **dict.fromkeys(("match", "code"), "record"),
    **dict.fromkeys(("status", "body"), "http"),
    "delay_ms": "delay",
}
# What a field must be: in words, and as a test.
_WANTED: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "status": ("an HTTP status", lambda value: _is_count(value) and 200 <= value < 600),
    "delay_ms": ("milliseconds, ten minutes at most", lambda value: _is_number(value, 600_000)),
    "probability": ("between 0 and 1", lambda value: _is_number(value, 1)),
    "apply": ("true or false", lambda value: isinstance(value, bool)),
    "match": ("an object of paths and values", lambda value: isinstance(value, dict)),
    "retry_after": ("one line of ASCII text", _is_line),
    **dict.fromkeys(("times", "after", "seed", "code"), ("a whole number", _is_count)),
    **dict.fromkeys(("path", "body", "error"), ("text", lambda value: isinstance(value, str))),
}
